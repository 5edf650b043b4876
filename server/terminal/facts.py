"""Lines below a picture: what it is, and its colours."""

from __future__ import annotations

from collections.abc import Sequence

from rich.style import Style
from rich.text import Text

from server.desk.desk import Piece
from server.terminal.picture import Picture


def facts_line(piece: Piece, picture: Picture, note: str = "") -> Text:
    """Writes prompt, size, zoom, model, and where it is in the game; `note` in place of the model."""
    cut = ", cut off: shift+arrows" if picture.cut else ""
    facts = Text(piece.prompt, "bold", no_wrap=True, overflow="ellipsis", justify="center")
    facts.append(f"  {piece.width}×{piece.height} at {picture.zoom}×{cut}  {note or piece.model}", "not bold dim")
    if piece.deployed:
        facts.append(f"  ✓ {piece.deployed[0]}", "not bold")
    return facts


def swatches(palette: Sequence[str]) -> Text:
    """Shows the colours of a palette (RRGGBB) as blocks, and their number."""
    strip = Text(no_wrap=True, overflow="crop", justify="center")
    for color in palette:
        strip.append("██", Style(color=f"#{color}"))
    if palette:
        strip.append(f" {len(palette)} colours", "dim")
    return strip
