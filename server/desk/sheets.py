"""Frames of a sheet from its layout (the `sheet` of an asset's details, or a `*.sheet.json`)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pipelines.records import Pixels


def clips_of(sheet: Pixels, layout: Mapping[str, Any]) -> tuple[dict[str, list[Pixels]], dict[str, float]]:
    """Cuts the frames of each clip, with its frames per second. A clip that the sheet does not hold is left out.

    Args:
        sheet: (height, width, 4).
        layout: `tile_size` (width, height), `columns` and `animations`, as `Sheet.layout` writes it.
    """
    width, height = (int(side) for side in layout.get("tile_size") or (0, 0))
    columns = int(layout.get("columns") or 0)
    if width < 1 or height < 1 or columns < 1:
        return {}, {}
    clips: dict[str, list[Pixels]] = {}
    fps: dict[str, float] = {}
    for name, clip in (layout.get("animations") or {}).items():
        frames = []
        for index in range(int(clip["first"]), int(clip["last"]) + 1):
            y, x = divmod(index, columns)
            frames.append(sheet[y * height : (y + 1) * height, x * width : (x + 1) * width])
        if frames and all(frame.shape[:2] == (height, width) for frame in frames):
            clips[name], fps[name] = frames, float(clip.get("fps") or 8)
    return clips, fps
