"""Print text of unknown origin to a terminal without letting it control the terminal.

Prompts, file names, answers of a game and metadata of LoRAs may hold escape sequences of terminals and rich's own
markup. `SafeConsole` makes control characters visible in all output; `shown` escapes markup as well.
"""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import Console, ConsoleOptions, RenderableType
from rich.markup import escape
from rich.segment import Segment

from pipelines.visible import visible


class SafeConsole(Console):
    """A rich console that writes control characters as escapes, apart from those that rich itself needs."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """As `Console.render`."""
        for segment in super().render(renderable, options):
            if segment.control is None and not segment.text.isprintable():
                yield Segment(visible(segment.text), segment.style)
            else:
                yield segment


def shown(value: object) -> str:
    """Escapes a value for a line of markup: control characters become visible, square brackets stay brackets."""
    return escape(visible(str(value)))
