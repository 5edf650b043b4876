"""The help page of a screen: its keys from the bindings themselves, then how to begin."""

from __future__ import annotations

from rich.text import Text
from textual.binding import Binding

from server.terminal.frame import SCREENS, Frame

_NAMES = {
    "question_mark": "?",
    "plus": "+",
    "minus": "-",
    "equals_sign": "=",
    "slash": "/",
    "escape": "esc",
    "left_square_bracket": "[",
    "right_square_bracket": "]",
}

_WIDTH = 12


def help_text(frame: Frame) -> Text:
    """Lists the keys of a screen, one a line."""
    text = Text(f"{frame.ABOUT}\n\n")
    keys: dict[str, list[str]] = {}
    for binding in Binding.make_bindings(frame.BINDINGS):
        what = binding.tooltip or binding.description
        keys.setdefault(what, []).append(_NAMES.get(binding.key, binding.key))
    for what, names in keys.items():
        text.append(f"{' '.join(names):>{_WIDTH}}", "bold")
        text.append(f"  {what}\n")
    text.append("\n")
    for key, what in (
        (f"F2 to F{len(SCREENS) + 1}", "The screens"),
        ("tab", "Next and previous field"),
        ("ctrl+p", "All commands"),
        ("ctrl+q", "Quit"),
    ):
        text.append(f"{key:>{_WIDTH}}", "bold")
        text.append(f"  {what}\n")
    return text
