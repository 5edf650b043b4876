"""Two themes of the studio, for dark and for light terminals. Textual's own are in the command palette."""

from __future__ import annotations

from textual.theme import Theme

DARK = Theme(
    name="studio-dark",
    primary="#f0b040",
    secondary="#6fb3c8",
    accent="#f0b040",
    foreground="#dcdfe4",
    background="#16181c",
    surface="#1c1f24",
    panel="#24282e",
    success="#8fc46a",
    warning="#f0b040",
    error="#e8736c",
    dark=True,
)
LIGHT = Theme(
    name="studio-light",
    primary="#9a5b00",
    secondary="#1f6f86",
    accent="#9a5b00",
    foreground="#24272c",
    background="#f7f5f0",
    surface="#efece4",
    panel="#e4e0d6",
    success="#3f7a1d",
    warning="#9a5b00",
    error="#b3261e",
    dark=False,
)
