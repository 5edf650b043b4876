"""`dgx-pixels export` and `import`: to ComfyUI and back."""

from __future__ import annotations

import json
from pathlib import Path

from server.cli.console import SafeConsole, shown
from server.features import comfyui as feature
from server.library.store import write_atomically
from server.studio import Studio


def export(
    asset_id: str,
    *,
    out: Path | None = None,
    checkpoint: str = "",
    comfyui: Path | None = None,
    project: Path | None = None,
) -> None:
    """Write a sprite's recipe as a ComfyUI API workflow, or a template: sprite, sheet, tile, batch.

    Parameters
    ----------
    asset_id
        From `generate`, or a template's name.
    out
        The file; default: comfyui_ID.json.
    checkpoint
        The file in ComfyUI's models/checkpoints; default: the one that drew it.
    comfyui
        A ComfyUI folder: link the LoRAs and models that are on this machine into its models/.
    project
        The game's root; default: found from the working directory.
    """
    console = SafeConsole()
    target = out or Path(f"comfyui_{Path(asset_id).name}.json")
    known = feature.templates()
    if asset_id in known:
        write_atomically(target, known[asset_id].encode())
        console.print(f"[bold]{shown(target)}[/]  the template {asset_id}; change its prompts in ComfyUI.")
        return
    with Studio() as studio:
        done = feature.export_comfyui(
            studio, asset_id, project=str(project) if project else None, checkpoint=checkpoint
        )
        loras = studio.loras.folder
    missing = done.files
    if comfyui:
        linked = feature.link_models(comfyui, done.files, loras)
        missing = linked.missing
        for place in linked.made:
            console.print(f"linked  {shown(place)}")
    write_atomically(target, (json.dumps(done.workflow, indent=2) + "\n").encode())
    console.print(f"[bold]{shown(target)}[/]  load it in ComfyUI, or POST it as 'prompt' to /prompt.")
    for file in missing:
        where = file.source or file.origin or "your own file"
        console.print(f"needs models/{file.folder}/{shown(file.name)}  [dim]({shown(where)})[/]")
    if missing and not comfyui:
        console.print("[dim]--comfyui FOLDER links what is on this machine.[/]")
    for said in done.left_out:
        console.print(f"[yellow]Not carried:[/] {shown(said)}")


def import_workflow(
    file: Path,
    *,
    draw: bool = False,
    out: Path | None = None,
    comfyui: Path | None = None,
    project: Path | None = None,
) -> None:
    """Read a ComfyUI API workflow (.json, or a PNG that ComfyUI saved) as a recipe.

    Parameters
    ----------
    file
        The workflow.
    draw
        Draw the sprite and keep it.
    out
        Write the recipe here, or with --draw the PNG.
    comfyui
        A ComfyUI folder, in which the checkpoint is looked for.
    project
        The game's root; default: found from the working directory.
    """
    console = SafeConsole()
    game = str(project) if project else None
    with Studio() as studio:
        read = feature.import_comfyui(studio, file, project=game, comfyui=comfyui)
        for said in read.left_out:
            console.print(f"[yellow]Not carried:[/] {shown(said)}")
        recipe = read.recipe
        size = f"{recipe.width}x{recipe.height}"
        console.print(f"[bold]{shown(recipe.prompt)}[/]  {size}  seed {recipe.seed}  {shown(recipe.model)}")
        for lora in recipe.loras:
            console.print(f"LoRA {shown(lora.name)}  {lora.weight:g}")
        if draw:
            kept = feature.draw_imported(studio, read, lambda done, total, said: None, project=game)
            library, asset = studio.find_asset(kept.asset.id, studio.project(game))
            if out:
                write_atomically(out, library.read(asset))
            console.print(f"[bold]{asset.id}[/]  {shown(out or library.path(asset))}")
        elif out:
            write_atomically(out, (recipe.to_json() + "\n").encode())
            console.print(f"[bold]{shown(out)}[/]")
