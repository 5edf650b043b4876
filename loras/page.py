"""The job's page: one HTML file in its folder with the loss and every sheet of samples, the newest first."""

from __future__ import annotations

from html import escape
from pathlib import Path

from loras.files import synced

PAGE = "page.html"
_STYLE = (
    "body{font:14px system-ui,sans-serif;margin:24px;background:#eeeeea;color:#28282e}"
    "img{image-rendering:pixelated;display:block;margin:4px 0 20px;max-width:100%}"
)


def write_page(folder: Path, name: str, said: str) -> None:
    """Writes the page of a job's folder; pictures are named, not copied. `said` is the line below the name.

    It loads nothing from elsewhere, and is loaded again every 20 seconds while it is open.
    """
    parts = [
        "<!doctype html><html lang=en><meta charset=utf-8><meta http-equiv=refresh content=20>",
        "<meta http-equiv=Content-Security-Policy content=\"default-src 'self' file:; style-src 'unsafe-inline'\">",
        f"<title>{escape(name)}</title><style>{_STYLE}</style>",
        f"<h1>{escape(name)}</h1><p>{escape(said)}</p>",
    ]
    if (folder / "loss.png").exists():
        parts.append("<h2>Loss</h2><img src=loss.png alt='loss by step'>")
    for sheet in sorted((folder / "samples").glob("step-*.png"), reverse=True):
        step = sheet.stem.removeprefix("step-").lstrip("0") or "0"
        parts.append(f"<h2>Step {escape(step)}</h2><img src='samples/{escape(sheet.name)}' alt='samples'>")
    if (folder / "dataset.png").exists():
        parts.append("<h2>What is learned</h2><img src=dataset.png alt='pictures that are learned'>")
    with synced(folder / PAGE) as file:
        file.write("\n".join(parts).encode())
