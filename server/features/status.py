"""Report the state of models, engine, game and library. Loads no model."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from server.project.style import STYLE_FILE, Style

if TYPE_CHECKING:
    from server.studio import Studio


def lora_list(studio: Studio) -> list[dict[str, Any]]:
    """Returns the LoRAs that can be used by name, broken ones with the reason in `note`."""
    return [
        {
            "name": lora.name,
            "state": lora.state,
            "note": lora.note,
            "base": lora.base,
            "trigger": lora.trigger,
            "rank": lora.rank,
            "licence": lora.licence,
        }
        for lora in studio.loras.list()
    ]


def model_list(studio: Studio, project: str | None = None) -> tuple[list[dict[str, Any]], str]:
    """Returns the models (fields of `ModelInfo`), and the id of the one that a request without a name gets."""
    game = studio.project(project)
    default = studio.model(game.style if game else Style())
    return [dataclasses.asdict(model) for model in studio.engine.backend.models()], default


def status(studio: Studio, project: str | None = None) -> dict[str, Any]:
    """Returns version, engine, game, library and last deployments as JSON values."""
    from server.version import package_version

    game = studio.project(project)
    library = studio.library(game)
    total = library.find(limit=1)[1]
    deployments = studio.deployments(game, limit=10)
    style_file = game.root / STYLE_FILE if game and not game.elsewhere else None
    ignored = {"ignored": [f"{row}: {reason}" for row, reason in library.ignored.items()]} if library.ignored else {}
    return {
        "version": package_version(),
        "engine": studio.engine.status() if studio.awake else {"state": "asleep"},
        "project": {
            "root": game.title,
            "name": game.name,
            "assets": game.shown(),
            "style": dataclasses.asdict(game.style),
            "style_file": str(style_file) if style_file and style_file.is_file() else "",
            **({"agent": "connected" if studio.remote.connected(game) else "not connected"} if game.elsewhere else {}),
        }
        if game
        else {},
        "library": {"folder": str(library.folder), "assets": total, **ignored},
        "deployments": [
            {
                "path": entry.path,
                "asset_id": entry.asset_id,
                "files": [file.path for file in entry.files],
                "verification": entry.verification,
            }
            for entry in deployments
        ],
        "next_step": ""
        if game
        else "No game was found: give project='/path/to/game', or set DGX_PIXELS_PROJECT for the server.",
    }
