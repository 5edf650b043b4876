"""A library, a LoRA job and a workflow run of an earlier version are opened and continued (tests/data/before)."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastmcp import Client

from pipelines.pixels.png import read_recipe
from pipelines.records import Recipe, no_progress
from server.deploy.deploy import undo
from server.features.comparisons.compare import Comparisons
from server.features.watch import Watch
from server.features.workflow_runs import run
from server.protocol.app import create_server
from server.settings import Settings
from server.studio import Studio
from tests.fakes import FakeBackend

BEFORE = Path(__file__).parents[1] / "data" / "before"
IDS = json.loads((BEFORE / "ids.json").read_text())
STYLE_FILES = ("Cargo.toml", "palette.hex", "dgx-pixels.toml", "one.json")


@pytest.fixture
def before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the earlier version's game and data; the game is the working directory."""
    shutil.copytree(BEFORE, tmp_path, dirs_exist_ok=True)
    for spec in tmp_path.glob("data/jobs/*/spec.json"):
        spec.write_text(spec.read_text().replace("{root}", str(tmp_path)))
    monkeypatch.chdir(tmp_path / "mygame")
    monkeypatch.delenv("CLAUDE_PROJECT_DIR", raising=False)
    return tmp_path


@pytest.fixture
def studio(before: Path, backend: FakeBackend) -> Iterator[Studio]:
    studio = Studio(Settings(data_dir=before / "data"), backend)
    yield studio
    studio.close()


def call(root: Path, tool: str, **arguments: Any) -> dict[str, Any]:
    return call_all(root, [{"tool": tool, "arguments": arguments}])[0]


def call_all(root: Path, calls: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The answers of tool calls; `$0` in an argument stands for the asset id that call 0 gave."""

    async def ask() -> list[dict[str, Any]]:
        answers: list[dict[str, Any]] = []
        async with Client(create_server(Settings(data_dir=root / "data"), FakeBackend())) as client:
            for call in calls:
                arguments = {
                    name: answers[int(value[1:])]["asset_id"] if str(value).startswith("$") else value
                    for name, value in call["arguments"].items()
                }
                answers.append((await client.call_tool(call["tool"], arguments)).structured_content or {})
        return answers

    return asyncio.run(ask())


def test_assets_are_found_with_their_files_and_recipes(studio: Studio) -> None:
    library = studio.library(studio.project())
    assets, total = library.find(limit=200)
    assert total == len(assets) == 25
    assert {a.kind for a in assets} == {"sprite", "sheet", "tileset"}
    for asset in assets:
        recipe = read_recipe(library.read(asset))
        assert recipe is not None
        assert Recipe.from_json(recipe) == asset.recipe
        for file in asset.files:
            library.read(asset, file.name)  # its hash is checked


def test_a_deployment_is_undone(before: Path, studio: Studio) -> None:
    hero = before / "mygame" / "assets" / "sprites" / "hero.png"
    library = studio.library(studio.project())
    assert hero.read_bytes() == library.read(library.get(IDS["dragon"]))
    assert undo(studio, "sprites/hero.png").state == "undone"
    assert hero.read_bytes() == library.read(library.get(IDS["goblin"]))
    undo(studio, "sprites/hero.png")
    assert not hero.exists()


def test_comparisons_keep_their_votes_and_an_open_one_takes_one(studio: Studio) -> None:
    kept = Comparisons(studio.library(studio.project()))
    voted, blind = kept.get(IDS["comparison"]), kept.get(IDS["open_comparison"])
    assert voted.votes == {0: 0}
    assert kept.veiled() == {i for rows in blind.cells for row in rows for i in row}
    assert len(kept.ranking()) == 2
    assert kept.vote(blind.id, "B").votes == {0: 1}
    assert not kept.veiled()


def test_an_unfinished_workflow_run_continues(before: Path, studio: Studio) -> None:
    done = run(studio, "items.json", {"subjects": "items.csv"}, no_progress).result
    assert (done.resumed, done.done, done.failed) == (14, 8, [])
    assert len(list((before / "mygame" / "assets" / "items").glob("*.png"))) == 10


def test_the_watch_knows_what_it_drew_and_which_palette_was_used(before: Path, studio: Studio) -> None:
    game, lines = studio.require_project(), []
    watch = Watch(studio, game, lines.append)
    for file in watch.files():
        watch.handle(file)
    assert lines == []
    palette = before / "mygame" / "palette.hex"
    palette.write_text(palette.read_text().replace("b13e53", "b13e54"))
    watch.handle(palette)
    assert lines == ["palette.hex: repainted 5 sprites (0 others use another palette)"]


def test_earlier_assets_are_edited_animated_fixed_and_laid_upon(before: Path) -> None:
    edited = call(before, "edit_sprite", asset_id=IDS["dragon"], prompt="green dragon", seed=1)
    assert edited["edited_from"] == IDS["dragon"]
    assert call(before, "generate_animation", asset_id=IDS["edited"], motions=["idle"])["sprite_id"] == IDS["edited"]
    assert call(before, "fix_pixel_art", picture=IDS["fixed"])["pitch"] == 1
    assert call(before, "generate_tileset", upper="sand", lower=IDS["tiles"], candidates=1)["lower"] == "grass"


def test_a_sentence_that_was_stored_as_a_warning_is_still_shown(before: Path) -> None:
    moved = call(before, "generate_animation", asset_id=IDS["warned"], motions=["idle"], frames=2)
    assert any("'oldstyle' was taught on other weights (embedded 01234567)" in text for text in moved["warnings"])


@pytest.mark.slow
def test_a_killed_training_job_of_earlier_weights_is_kept_and_refused_with_the_reason(studio: Studio) -> None:
    (job,) = studio.jobs.list()
    assert (job.status, job.done, job.resumable) == ("interrupted", 3, True)
    checkpoint = (job.folder / "checkpoint.pt").read_bytes()
    studio.jobs.resume(job.id)
    job = studio.jobs.wait(job.id, 240)
    # the weights that it began with were replaced: going on would mix two models
    assert (job.status, job.done) == ("failed", 3)
    assert "another version of the model" in job.error
    assert (job.folder / "checkpoint.pt").read_bytes() == checkpoint


def test_the_same_call_gives_the_same_asset_id(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    game = tmp_path / "mygame"
    (game / "assets").mkdir(parents=True)
    for name in STYLE_FILES:
        shutil.copy(BEFORE / "mygame" / name, game / name)
    monkeypatch.chdir(game)
    monkeypatch.delenv("CLAUDE_PROJECT_DIR", raising=False)
    expected = json.loads((BEFORE / "expected.json").read_text())
    for asked, answer in zip(expected, call_all(tmp_path, expected), strict=True):
        ids = [item["asset_id"] for item in answer["sprites"]] if "sprites" in answer else answer.get("asset_id")
        if ids is None:
            ids = answer["outputs"] | {"move": None}
        assert asked["ids"] in (ids, None), asked
