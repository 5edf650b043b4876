"""`dgx-pixels models`: the list, and pulling a model from the hub with sizes and licences shown first."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Literal

from rich.table import Table

from server.cli.console import SafeConsole, shown
from server.studio import Studio


def models(
    action: Literal["list", "pull"] = "list", name: str = "sdxl", *, yes: bool = False, project: Path | None = None
) -> None:
    """List the models, or pull one from the Hugging Face hub.

    Parameters
    ----------
    action
        list or pull.
    name
        What to pull: "sdxl" (with its decoder, pixel-art LoRA and fast presets), "sdxl-config" (for single files),
        "ip-adapter" (for reference pictures), "scribble" (for the lines of a sketch), or
        a hub id: owner/name, owner/name@revision.
    yes
        Pull without asking.
    project
        The game's root; default: found from the working directory.
    """
    if action == "list":
        _list(project)
    else:
        pull_model(name, yes=yes)


def pull_model(name: str, *, yes: bool = False) -> None:
    """Fetches the missing files of a model; an interrupted pull is resumed."""
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    from pipelines.models.catalog import hub_repos
    from pipelines.models.hub import plan_pull, pull

    console = SafeConsole()
    plan = plan_pull(hub_repos(name))
    table = Table(box=None, pad_edge=False)
    for heading in ("repository", "commit", "licence", "GB to fetch"):
        table.add_column(heading)
    for repo, licence in plan.licences.items():
        size = sum(f.size for f in plan.files if f.repo.id == repo and not f.cached)
        table.add_row(shown(repo), plan.commits[repo][:12], shown(licence), f"{size / 1e9:.2f}")
    console.print(table)
    console.print(f"{plan.size / 1e9:.2f} GB to fetch, {plan.free / 1e9:.0f} GB free on the cache's disk.")
    if not plan.size:
        console.print("Everything is here.")
        return
    if not yes and sys.stdin.isatty() and console.input("Fetch it under these licences? [y/N] ").lower() != "y":
        console.print("Nothing was fetched.")
        return
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, TimeRemainingColumn(), console=console) as bars:
        bar = bars.add_task(shown(name), total=plan.size)
        pull(plan, lambda done, total, said: bars.update(bar, completed=done, description=shown(said)))


def _list(project: Path | None) -> None:
    from server.features.status import model_list

    with Studio() as studio:
        found, default = model_list(studio, str(project) if project else None)
    table = Table(box=None, pad_edge=False)
    for heading in ("id", "state", "licence", "native sizes", "commit", "note"):
        table.add_column(heading, overflow="fold")
    for model in found:
        mark = " (default)" if model["id"] == default else ""
        sizes = ", ".join(str(size) for size in model["native_sizes"])
        fields = (model["id"] + mark, model["state"], model["licence"], sizes, model["commit"][:12], model["note"])
        table.add_row(*map(shown, fields))
    SafeConsole().print(table)
