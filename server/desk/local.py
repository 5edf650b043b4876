"""The desk in this process: the features themselves, over one `Studio`."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from server.desk.desk import NO_LORAS, Batch, Contest, Finding, Home, OnProgress, Piece, Place, Placed, Shown, Training

if TYPE_CHECKING:
    from loras.jobs import Job
    from pipelines.records import LoraWeight, Pixels
    from server.deploy.deploy import Deployed
    from server.features.comparisons.compare import Comparison
    from server.library.records import Asset
    from server.library.store import Library
    from server.studio import Studio

EXIT_PATIENCE = 0.2
"""Seconds that the end waits for a drawing to stop."""
_BASE_SEED = 1000


class LocalDesk:
    """Calls the features. The studio is made on the first call, in the thread of that call."""

    def __init__(self, make_studio: Callable[[], Studio], project: str | None = None) -> None:
        self._make_studio = make_studio
        self._project = project
        self._made: Studio | None = None
        self._lock = threading.Lock()

    @property
    def _studio(self) -> Studio:
        with self._lock:  # two threads may ask first
            if self._made is None:
                self._made = self._make_studio()
            return self._made

    def home(self) -> Home:
        """See `Desk`."""
        from pipelines.pixels.named_palettes import palette_names
        from server.features.status import model_list
        from server.project.style import Style

        game = self._studio.project(self._project)
        style = game.style if game else Style()
        models, default = model_list(self._studio, self._project)
        usable = [model for model in models if model["state"] in ("resident", "available")]
        names = [default, *(model["id"] for model in usable if model["id"] != default)]
        newest = self.find(limit=1)[0]
        return Home(
            game=game.name if game else "",
            root=game.title if game else "",
            size=style.size,
            prefix=style.prompt_prefix,
            model=default,
            models=tuple(names),
            presets={model["id"]: tuple(model["presets"]) for model in usable},
            palettes=palette_names(),
            loras=tuple(lora.name for lora in self._studio.loras.list() if lora.state == "available"),
            newest=newest[0] if newest else None,
        )

    def warm(self) -> None:
        """See `Desk`."""
        self._studio.preload()

    def draw(self, fields: Mapping[str, Any], count: int, on_progress: OnProgress) -> Batch:
        """See `Desk`."""
        from server.features.requests import SpriteRequest
        from server.features.sprites import generate_sprites

        given = dict(fields)
        loras = lora_stack(str(given.pop("loras", "")))
        request = SpriteRequest.model_validate(given)
        done = generate_sprites(self._studio, request, on_progress, project=self._project, count=count, loras=loras)
        pieces = tuple(_piece(one.asset) for one in done.sprites)
        return Batch(pieces, tuple(one.image for one in done.sprites), done.unknown_words, done.seconds)

    def find(self, text: str = "", kind: str = "", limit: int = 50, offset: int = 0) -> tuple[list[Piece], int]:
        """See `Desk`."""
        from server.features.comparisons.compare import Comparisons

        game = self._studio.project(self._project)
        library = self._studio.library(game)
        assets, total = library.find(text, kind, limit, offset)
        deployed: dict[str, list[str]] = {}
        for entry in self._studio.deployments(game, [a.id for a in assets], limit=1000) if assets else ():
            deployed.setdefault(entry.asset_id, []).append(entry.path)
        veiled = Comparisons(library).veiled()
        return [_piece(asset, deployed.get(asset.id, ()), veiled=asset.id in veiled) for asset in assets], total

    def show(self, piece: Piece) -> Shown:
        """See `Desk`."""
        import json

        from pipelines.pixels.png import read_picture
        from server.desk.sheets import clips_of
        from server.features.comparisons.compare import Comparisons

        game = self._studio.project(self._project)
        library, asset = self._studio.find_asset(piece.id, game)
        hidden = asset.id in Comparisons(library).veiled()
        recipe = {} if hidden else json.loads(asset.recipe.to_json())
        names = {file.name for file in asset.files}
        if asset.kind == "tileset" and "preview.png" in names:
            return Shown(read_picture(library.read(asset, "preview.png")), recipe=recipe)
        picture = read_picture(library.read(asset))
        clips, fps = clips_of(picture, asset.details.get("sheet") or {}) if asset.kind == "sheet" else ({}, {})
        return Shown(picture, clips, fps, recipe)

    def edit(self, fields: Mapping[str, Any], on_progress: OnProgress) -> Batch:
        """See `Desk`."""
        from server.features.edits import edit_sprite
        from server.features.requests import EditRequest

        done = edit_sprite(self._studio, EditRequest.model_validate(dict(fields)), on_progress, project=self._project)
        return Batch((_piece(done.asset),), (done.after,), done.unknown_words)

    def deploy(self, asset_id: str, path: str = "", *, overwrite: bool = False) -> Placed:
        """See `Desk`."""
        from server.deploy.deploy import deploy

        return _placed(deploy(self._studio, asset_id, path, self._project, overwrite=overwrite))

    def undo(self, path: str = "", *, overwrite: bool = False) -> Placed:
        """See `Desk`."""
        from server.deploy.deploy import undo

        return _placed(undo(self._studio, path, self._project, overwrite=overwrite))

    def compare(
        self,
        prompts: Sequence[str],
        variants: Sequence[str],
        count: int,
        size: int | None,
        on_progress: OnProgress,
        *,
        blind: bool,
    ) -> Contest:
        """See `Desk`."""
        from server.features.comparisons.compare import compare, parse_variant
        from server.features.recipes import sprite_recipe
        from server.features.requests import SpriteRequest
        from server.project.style import Style

        studio = self._studio
        game = studio.project(self._project)
        default = studio.model(game.style if game else Style())
        stacks = [parse_variant(text, default) for text in variants]
        recipes = [
            sprite_recipe(studio, game, SpriteRequest(prompt=prompt, size=size, seed=_BASE_SEED, palette="none"))
            for prompt in prompts
        ]
        seeds = list(range(_BASE_SEED, _BASE_SEED + count))
        return self.contest(compare(studio, game, recipes, stacks, seeds, on_progress, blind=blind))

    def vote(self, contest_id: str, winner: str) -> Contest:
        """See `Desk`."""
        from server.features.comparisons.compare import Comparisons

        return self.contest(Comparisons(self._library()).vote(contest_id, winner))

    def adopt(self, contest_id: str, winner: str) -> str:
        """See `Desk`."""
        from server.features.comparisons.compare import Comparisons, winner_index
        from server.project.adoption import adopt

        game = self._studio.require_project(self._project)
        done = Comparisons(self._library()).get(contest_id)
        return str(adopt(game, done.variants[winner_index(done, winner)]))

    def adopt_lora(self, job_id: str) -> str:
        """See `Desk`."""
        from loras.jobs import JobSpec
        from pipelines.records import LoraWeight
        from server.features.comparisons.compare import Variant
        from server.project.adoption import adopt

        game = self._studio.require_project(self._project)
        spec = JobSpec.read(self._studio.jobs.get(job_id).folder / "spec.json")
        return str(adopt(game, Variant(spec.model, (LoraWeight(spec.name),))))

    def check(self) -> list[Finding]:
        """See `Desk`."""
        from server.features.checking import check_game

        found = check_game(self._studio, self._project).findings
        return [Finding(f.topic, f.state, f.what, f.change, f.lines) for f in found]

    def status(self) -> dict[str, Any]:
        """See `Desk`."""
        from server.features.status import status

        return status(self._studio, self._project)

    def trainings(self) -> list[Training]:
        """See `Desk`."""
        return [_training(job) for job in self._studio.jobs.list()]

    def samples(self, job_id: str) -> Pixels | None:
        """See `Desk`."""
        from pipelines.pixels.png import read_picture

        job = self._studio.jobs.get(job_id)
        return read_picture(Path(job.samples[-1]).read_bytes()) if job.samples else None

    def train(self, dataset: str, name: str) -> Training:
        """See `Desk`."""
        from server.features.requests import TrainRequest
        from server.features.training import start_training

        request = TrainRequest(dataset=dataset, name=name)
        return _training(start_training(self._studio, request, project=self._project)[0])

    def cancel_training(self, job_id: str) -> Training:
        """See `Desk`."""
        return _training(self._studio.jobs.cancel(job_id, 30))

    def resume_training(self, job_id: str) -> Training:
        """See `Desk`."""
        from loras.jobs import JobSpec
        from server.features.training import make_room

        jobs = self._studio.jobs
        make_room(self._studio, JobSpec.read(jobs.get(job_id).folder / "spec.json").model)
        return _training(jobs.resume(job_id))

    def close(self) -> None:
        """See `Desk`."""
        if self._made is not None:
            self._made.close(EXIT_PATIENCE)

    def _library(self) -> Library:
        return self._studio.library(self._studio.project(self._project))

    def contest(self, done: Comparison) -> Contest:
        """Returns a comparison as a screen shows it."""
        from server.features.comparisons.compare import Comparisons

        winner = next(iter(done.votes.values()), None)
        rows = [f"{prompt}, seed {seed}" for prompt in done.prompts for seed in done.seeds]
        return Contest(
            id=done.id,
            labels=done.labels,
            letters=done.letters,
            rows=tuple(rows),
            cells=tuple(tuple(asset for row in column for asset in row) for column in done.cells),
            winner="" if winner is None else done.letters[winner] if winner >= 0 else "tie",
            ranking=tuple(
                place(rank.key, rank.strength, rank.low, rank.high, rank.won, rank.pairs)
                for rank in Comparisons(self._library()).ranking()
            ),
        )


def lora_stack(text: str) -> tuple[LoraWeight, ...] | None:
    """Reads `mygame@0.8 + glow`; NO_LORAS is an empty stack, and an empty text leaves the choice to the game's style.

    Raises:
        ServerError: it has another form.
    """
    from server.features.comparisons.compare import parse_variant

    return None if not text else () if text == NO_LORAS else parse_variant(f"+ {text}", "").loras


def place(key: str, strength: float, low: float, high: float, won: float, pairs: int) -> Place:
    """Makes a place of the ranking from log-odds against the average variant."""
    from math import exp

    share, least, most = (1 / (1 + exp(-value)) for value in (strength, low, high))
    return Place(key, share, least, most, won, pairs)


def _piece(asset: Asset, deployed: Sequence[str] = (), *, veiled: bool = False) -> Piece:
    recipe = asset.recipe
    return Piece(
        id=asset.id,
        kind=asset.kind,
        prompt=recipe.prompt,
        width=recipe.width,
        height=recipe.height,
        seed=recipe.seed,
        model="shown after the vote" if veiled else recipe.model,
        palette=tuple(asset.details.get("palette") or ()),
        deployed=tuple(deployed),
    )


def _placed(done: Deployed) -> Placed:
    said = done.verification
    return Placed(done.state, done.paths[0], done.asset_id, said.state, said.note, said.screenshot)


def _training(job: Job) -> Training:
    from loras.log import LOG, read_log

    return Training(
        id=job.id,
        name=job.name,
        status=job.status,
        done=job.done,
        total=job.total,
        losses=tuple(float(line["loss"]) for line in read_log(job.folder / LOG) if "loss" in line),
        samples=len(job.samples),
        eta_seconds=job.eta_seconds,
        message=job.message,
        error=job.error,
        active=job.active,
        resumable=job.resumable,
    )
