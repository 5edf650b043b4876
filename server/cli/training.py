"""`dgx-pixels train`: teach a LoRA from a terminal, and follow the job."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from server.cli.console import SafeConsole, shown
from server.features.requests import TrainRequest
from server.studio import Studio


def train(
    request: Annotated[TrainRequest | None, Parameter(name="*")] = None,
    *,
    resume: str = "",
    project: Path | None = None,
    follow: bool = True,
) -> None:
    """Train a LoRA on a style. The job continues when this command is ended with Ctrl+C.

    Parameters
    ----------
    resume
        The id of a job that stopped: go on with it.
    project
        The game's root; default: found from the working directory.
    follow
        Wait for the job's end and show its progress.
    """
    from rich.progress import Progress

    from server.features.training import make_room, start_training

    console = SafeConsole()
    with Studio() as studio:
        if resume:
            make_room(studio, str(studio.jobs.get(resume).model))
            job = studio.jobs.resume(resume)
        else:
            job, pictures = start_training(studio, request or TrainRequest(), project=str(project) if project else None)
            report = pictures.report()
            console.print(f"{report['taken']} pictures are learned from, {report['refused']} are left out.")
            for note in report["notes"]:
                console.print(f"[yellow]{shown(note)}[/]")
        console.print(f"[bold]{job.id}[/]  {shown(job.folder)}")
        if not follow:
            return
        with Progress(console=console, transient=True) as bars:
            bar = bars.add_task(shown(job.name), total=None)
            job = studio.jobs.wait(
                job.id,
                float("inf"),
                lambda now: bars.update(
                    bar, completed=now.done, total=now.total or None, description=shown(now.message)
                ),
            )
    console.print(f"[bold]{job.status}[/]  {shown(job.error or job.message)}")
    if job.result:
        console.print(shown(job.result))
    if (page := job.folder / "page.html").exists():
        console.print(f"[dim]{shown(page)} shows the loss and all samples.[/]")
