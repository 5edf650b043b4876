"""`dgx-pixels fix`, `slice` and `palette`: the commands that need no model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from server.cli.console import SafeConsole, shown
from server.errors import ServerError
from server.features.requests import FixRequest, SliceRequest
from server.studio import Studio

SHOWN = 8
"""Pictures in a preview of before and after: those that a palette changes most."""


def fix(
    request: Annotated[FixRequest, Parameter(name="*")],
    *,
    size: int | None = None,
    project: Path | None = None,
    out: Path | None = None,
) -> None:
    """Get the real pixels back from a render, a screenshot, a JPEG or an enlarged sprite.

    Parameters
    ----------
    size
        Finished width and height; default: as found.
    project
        The game's root; default: found from the working directory.
    out
        Write the picture here too; of an animation the animation, and its sheet beside it.
    """
    from server.features.pixel_fix import fix_pixel_art
    from server.library.store import write_atomically

    with Studio() as studio:
        sides = {"width": request.width or size, "height": request.height or size}
        done = fix_pixel_art(studio, request.model_copy(update=sides), project=str(project) if project else None)
        path = done.library.path(done.asset)
        if out:
            out.parent.mkdir(parents=True, exist_ok=True)
            names = [file.name for file in done.asset.files]
            moving = next((name for name in names if name.startswith("animation.")), None)
            if moving:
                beside = out.with_name(f"{out.stem}_sheet.png")
                write_atomically(beside, done.library.read(done.asset))
                out = out.with_suffix(Path(moving).suffix)
            write_atomically(out, done.library.read(done.asset, moving or ""))
            path = out
    console = SafeConsole()
    recipe = done.asset.recipe
    console.print(f"[bold]{done.asset.id}[/]  {recipe.width}x{recipe.height}, pitch {done.pitch:.2f}  {shown(path)}")
    for warning in done.warnings:
        console.print(f"[yellow]{shown(warning)}[/]")


def slice_sheet(
    request: Annotated[SliceRequest, Parameter(name="*")],
    *,
    project: Path | None = None,
    out: Path | None = None,
    cuts: Path | None = None,
) -> None:
    """Cut a sheet or an .aseprite file into sprites, or into one animation.

    Parameters
    ----------
    project
        The game's root; default: found from the working directory.
    out
        A folder: write the sprites here too, or the animation with its layout and .aseprite file.
    cuts
        Write the picture that shows the cuts here; default: slice_preview.png.
    """
    from pipelines.pixels.png import encode_png
    from server.features.slices import slice_sheet as cut_sheet
    from server.features.slices import write_out
    from server.library.store import write_atomically

    with Studio() as studio:
        done = cut_sheet(studio, request, project=str(project) if project else None)
        written = write_out(done, out) if out else []
    target = cuts or Path("slice_preview.png")
    write_atomically(target, encode_png(done.preview))
    console = SafeConsole()
    what = f"{len(done.names)} clips" if done.assets[0].kind == "sheet" else f"{len(done.assets)} sprites"
    console.print(f"{what}, cut by {shown(done.how)}", highlight=False)
    for asset in done.assets[:SHOWN]:
        size = f"{asset.recipe.width}x{asset.recipe.height}"
        console.print(f"[bold]{asset.id}[/]  {size}  {shown(asset.recipe.prompt)}", highlight=False)
    if len(done.assets) > SHOWN:
        console.print(f"... and {len(done.assets) - SHOWN} more")
    console.print(f"[dim]The cuts:[/] {shown(target)}")
    if out:
        console.print(f"[dim]Written:[/] {len(written)} files in {shown(out)}")
    for warning in done.warnings:
        console.print(f"[yellow]{shown(warning)}[/]")


def palette(
    action: Literal["extract", "apply", "undo"],
    folder: Path,
    *,
    palette: Path | None = None,
    colors: int = 32,
    out: Path | None = None,
    write: bool = False,
) -> None:
    """Take one palette from a folder of pictures, put one onto it, or undo that.

    Parameters
    ----------
    action
        extract: write the folder's palette. apply: lock its pictures to one. undo: put back what the last apply with
        --write replaced.
    folder
        Such as assets/.
    palette
        For apply: the palette file (.hex, .gpl, .pal, .txt, .act, .ase, .png).
    colors
        For extract: the most colours.
    out
        For extract: the palette file (default: palette.hex); for apply: the picture of before and after (default:
        palette_preview.png).
    write
        For apply: replace the pictures; without it only the preview is made. Animations, 16-bit pictures and normal
        maps are left out and named.
    """
    from pipelines.pixels.palette_files import read_palette, write_palette
    from server.features import palettes
    from server.features.preview import fitted, preview_png
    from server.library.store import write_atomically

    console = SafeConsole()
    if action == "extract":
        target = out or Path("palette.hex")
        found, skipped = palettes.extract(folder, colors, target.stem)
        write_palette(found, target)
        console.print("".join(f"[on #{word}]   [/]" for word in found.hex))
        console.print(f"{len(found)} colours  {shown(target)}")
    elif action == "undo":
        restored, skipped = palettes.undo(folder)
        console.print(f"{restored} put back as they were")
    else:
        if palette is None:
            raise ServerError("Which palette? Give a file: dgx-pixels palette apply assets/ --palette palette.hex")
        applied = palettes.apply(folder, read_palette(palette), write=write)
        skipped = applied.skipped
        most = sorted(applied.changes, key=lambda change: -change.moved)[:SHOWN]
        for change in most:
            console.print(f"{change.moved:.3f}  {shown(change.path)}")
        if most:
            compared = [fitted(side, 120) for change in most for side in (change.before, change.after)]
            target = out or Path("palette_preview.png")
            write_atomically(target, preview_png(compared))
            console.print(f"[dim]Before and after, the {len(most)} that change most:[/] {shown(target)}")
        done = "replaced" if write else "would change (--write replaces them)"
        if write and applied.changes:
            console.print(f"[dim]dgx-pixels palette undo {shown(folder)} puts them back.[/]")
        console.print(f"{len(applied.changes)} {done}, {applied.unchanged} are in the palette already")
    for reason in skipped:
        console.print(f"[yellow]Left out:[/] {shown(reason)}")
