"""Do what the page asks with the features, and write the answers as JSON values for its scripts.

Every function blocks and runs in the context of the person who asked (`Person.working`).
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from pipelines.choices import Motion, Outline
from pipelines.errors import UserError
from server.desk.local import LocalDesk, lora_stack
from server.gallery.build import asset_entry, data_uri
from server.web.asks import AnimationAsk, CompareAsk, DeployAsk, SpriteAsk, UndoAsk, VoteAsk

if TYPE_CHECKING:
    from pipelines.records import OnProgress
    from server.desk.desk import Contest, Placed
    from server.features.comparisons.compare import Comparison
    from server.library.records import Asset
    from server.library.store import Library
    from server.studio import Studio

PAGE = 24
"""Assets that the library shows at a time."""
MOST_CONTESTS = 6
"""Comparisons that the page shows, the newest."""
SIZES = (8, 16, 24, 32, 48, 64)
_WEIGHTS = (1.0, 0.6)
"""Of each LoRA, to choose from in a comparison."""


def home(studio: Studio, project: str, games: Iterable[str]) -> dict[str, Any]:
    """Returns what the forms offer: the game and its style, models, palettes, LoRAs. Loads the engine's code.

    Of a game that cannot be used, or is another user's: the user's games and the `problem`.
    """
    desk = _desk(studio, project)
    try:
        found = desk.home()
    except UserError as error:  # another game may be in order
        return {"games": [{"root": root, "name": Path(root).name} for root in games], "problem": str(error)}
    roots = list(games) or ([found.root] if found.root else [])
    with_loras = [f"{found.model} + {name}@{weight:g}" for name in found.loras for weight in _WEIGHTS]
    return {
        "games": [{"root": root, "name": Path(root).name} for root in roots],
        "game": found.game,
        "root": found.root,
        "size": found.size,
        "sizes": sorted({*SIZES, found.size}),
        "prefix": found.prefix,
        "model": found.model,
        "models": list(found.models),
        "presets": {model: list(names) for model, names in found.presets.items()},
        "palettes": list(found.palettes),
        "outlines": list(get_args(Outline)),
        "motions": list(get_args(Motion)),
        "loras": list(found.loras),
        "variants": [*found.models, *with_loras],
        "total": desk.find(limit=0)[1],
    }


def warm(studio: Studio) -> None:
    """Loads the model in the background."""
    threading.Thread(target=studio.preload, name="dgx-pixels-preload", daemon=True).start()


def draw(studio: Studio, ask: SpriteAsk, on_progress: OnProgress) -> dict[str, Any]:
    """Draws sprites.

    Raises:
        UserError: as `generate_sprites`.
        ValidationError: a field is out of range.
    """
    from server.features.requests import SpriteRequest
    from server.features.sprites import generate_sprites

    request = SpriteRequest.model_validate(ask.fields())
    loras = lora_stack(ask.loras)
    project = ask.project or None
    done = generate_sprites(studio, request, on_progress, project=project, count=ask.count, loras=loras)
    return {
        "assets": _entries(done.library, [one.asset for one in done.sprites]),
        "unknown_words": list(done.unknown_words),
        "notes": list(done.notes),
    }


def animate(studio: Studio, ask: AnimationAsk, on_progress: OnProgress) -> dict[str, Any]:
    """Makes a sheet of motions.

    Raises:
        UserError: as `generate_animation`.
        ValidationError: a field is out of range.
    """
    from server.features.animations import generate_animation
    from server.features.requests import AnimationRequest

    request = AnimationRequest.model_validate(ask.fields())
    done = generate_animation(studio, request, on_progress, project=ask.project or None)
    return {
        "assets": _entries(done.library, [done.asset]),
        "unknown_words": list(done.unknown_words),
        "notes": list(done.notes),
    }


def compare(studio: Studio, ask: CompareAsk, on_progress: OnProgress) -> dict[str, Any]:
    """Draws a blind comparison, by the same code as the tool compare_models.

    Raises:
        UserError: as `compare_models`.
        ValidationError: a field is out of range.
    """
    from server.features.comparisons.compare import compare_models
    from server.features.requests import CompareRequest

    request = CompareRequest.model_validate(
        {"prompts": (ask.prompt,), "variants": ask.variants, "count": ask.count, "seed": ask.seed, "size": ask.size}
    )
    return {"contest": compare_models(studio, request, on_progress, project=ask.project or None).id}


def vote(studio: Studio, ask: VoteAsk) -> dict[str, Any]:
    """Records a vote and returns the comparison with its names.

    Raises:
        UserError: there is no such comparison or column.
    """
    from server.features.comparisons.compare import Comparisons

    library = _library(studio, ask.project)
    Comparisons(library).vote(ask.comparison, ask.winner)
    return _contest(_desk(studio, ask.project), library, Comparisons(library).get(ask.comparison))


def contests(studio: Studio, project: str) -> dict[str, Any]:
    """Returns the newest comparisons, those of assistants too."""
    from server.features.comparisons.compare import Comparisons

    library = _library(studio, project)
    desk = _desk(studio, project)
    return {"contests": [_contest(desk, library, done) for done in Comparisons(library).latest(MOST_CONTESTS)]}


def find(studio: Studio, project: str, text: str, kind: str, offset: int) -> dict[str, Any]:
    """Returns a page of the library, the newest assets first."""
    library = _library(studio, project)
    assets, total = library.find(text, kind, PAGE, offset)
    return {"assets": _entries(library, assets), "total": total, "offset": offset, "page": PAGE}


def deploy(studio: Studio, ask: DeployAsk) -> dict[str, Any]:
    """Writes an asset into the game and asks the running game.

    Raises:
        UserError: as `server.deploy.deploy.deploy`.
    """
    return _placed(_desk(studio, ask.project).deploy(ask.asset_id, ask.path, overwrite=ask.overwrite))


def undo(studio: Studio, ask: UndoAsk) -> dict[str, Any]:
    """Takes a deployment back.

    Raises:
        UserError: as `server.deploy.deploy.undo`.
    """
    return _placed(_desk(studio, ask.project).undo(ask.path, overwrite=ask.overwrite))


def may_overwrite(error: Exception) -> bool:
    """Returns whether a deploy or undo would succeed with `overwrite`."""
    return "overwrite=true" in str(error)


def _placed(placed: Placed) -> dict[str, Any]:
    return {
        "state": placed.state,
        "path": placed.path,
        "asset_id": placed.asset_id,
        "verification": placed.verification,
        "note": placed.note,
        "screenshot": data_uri(placed.screenshot) if placed.screenshot else "",
    }


def _entries(library: Library, assets: Iterable[Asset]) -> list[dict[str, Any]]:
    """Returns what the page shows of assets. Those whose files are gone are left out."""
    from server.features.comparisons.compare import Comparisons

    assets = list(assets)
    veiled = Comparisons(library).veiled()
    deployed: dict[str, list[str]] = {}
    for entry in library.deployments(asset_ids=[a.id for a in assets], limit=1000) if assets else ():
        deployed.setdefault(entry.asset_id, []).append(entry.path)
    entries = []
    for asset in assets:
        if entry := asset_entry(library, asset, (), veiled=asset.id in veiled):
            for unused in ("paths", "normal", "pieces"):  # paths are of the server's disk
                del entry[unused]
            entries.append(entry | {"deployed": deployed.get(asset.id, [])})
    return entries


def _contest(desk: LocalDesk, library: Library, done: Comparison) -> dict[str, Any]:
    contest: Contest = desk.contest(done)
    assets = library.get_many({cell for column in contest.cells for cell in column})
    pictures = {
        entry["id"]: {name: entry[name] for name in ("id", "png", "width", "height")}
        for entry in _entries(library, assets.values())
    }
    return {
        "id": contest.id,
        "prompts": list(done.prompts),
        "labels": list(contest.labels),
        "letters": list(contest.letters),
        "rows": list(contest.rows),
        "cells": [[pictures.get(cell) for cell in column] for column in contest.cells],
        "winner": contest.winner,
        "created": done.created,
        "ranking": [
            {"key": place.key, "share": place.share, "low": place.low, "high": place.high, "pairs": place.pairs}
            for place in contest.ranking
        ],
    }


def _desk(studio: Studio, project: str) -> LocalDesk:
    return LocalDesk(lambda: studio, project or None)


def _library(studio: Studio, project: str) -> Library:
    return studio.library(studio.project(project or None))
