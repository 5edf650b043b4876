"""train_lora, get_job and cancel_job as a client sees them; the worker itself is tested in tests/loras."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastmcp import Client
from fastmcp.exceptions import ToolError
from PIL import Image

from loras import jobs
from loras.files import write_json
from loras.jobs import JobSpec
from pipelines.records import no_progress
from server.errors import ServerError
from server.features.requests import TrainRequest
from server.features.training import dataset_path, make_room, start_training
from server.protocol.app import create_server
from server.settings import Settings
from server.studio import Studio
from tests.fakes import FakeBackend


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(autouse=True)
def _no_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    """A job's folder is made, and nobody works on it."""

    def start(folder: Path) -> None:
        write_json(folder / "state.json", {"status": "queued"})

    monkeypatch.setattr(jobs, "start_here", start)


@pytest.fixture
def art(game: Path) -> Path:
    """Two sprites and something that is none, in the game's assets."""
    for i, name in enumerate(("red_dragon", "blue_potion")):
        picture = np.full((16, 16, 4), 255, np.uint8)
        picture[4:9, 4:9, :3] = i * 50
        Image.fromarray(picture).save(game / "assets" / f"{name}.png")
    (game / "assets" / "broken.png").write_text("no picture")
    return game / "assets"


@pytest.fixture
async def client(art: Path, settings: Settings, backend: FakeBackend) -> AsyncIterator[Client[Any]]:
    async with Client(create_server(settings, backend)) as client:
        yield client


@pytest.mark.anyio
@pytest.mark.parametrize(
    "given", ["alpha=4, validation=0.2, optimizer=prodigy", {"alpha": 4, "validation": 0.2, "optimizer": "prodigy"}]
)
async def test_options_of_training_are_text_or_an_object(client: Client[Any], settings: Settings, given: Any) -> None:
    answer = (await client.call_tool("train_lora", {"options": given})).structured_content
    assert answer is not None
    options = JobSpec.read(settings.data_dir / "jobs" / answer["job"]["job_id"] / "spec.json").options
    assert (options.alpha, options.validation, options.optimizer, options.rate) == (4, 0.2, "prodigy", 1.0)
    with pytest.raises(ToolError, match="with a name of: alpha"):
        await client.call_tool("train_lora", {"options": "colour=red"})


@pytest.mark.anyio
async def test_a_job_is_started_from_the_games_own_art_and_can_be_followed(
    client: Client[Any], settings: Settings
) -> None:
    answer = (await client.call_tool("train_lora", {"trigger": "mygame"})).structured_content
    assert answer is not None
    assert (answer["taken"], answer["refused"], answer["job"]["name"]) == (2, 1, "mygame")
    assert answer["refused_files"][0]["file"] == "broken.png"
    assert "20 to 50" in answer["notes"][0]
    job_id = answer["job"]["job_id"]
    spec = JobSpec.read(settings.data_dir / "jobs" / job_id / "spec.json")
    assert (spec.model, spec.trigger, spec.options.batch) == ("embedded", "mygame", 8)

    jobs = (await client.call_tool("get_job", {})).structured_content
    assert jobs is not None
    assert [j["job_id"] for j in jobs["jobs"]] == [job_id]
    one = (await client.call_tool("get_job", {"job_id": job_id, "wait_seconds": 1})).structured_content
    assert one is not None
    assert one["jobs"][0]["status"] == "interrupted"
    assert f"train_lora(resume='{job_id}')" in one["next_step"]
    assert json.loads((await client.read_resource(f"job://{job_id}"))[0].text)["job_id"] == job_id  # pyright: ignore
    ended = (await client.call_tool("cancel_job", {"job_id": job_id})).structured_content
    assert ended is not None
    assert ended["jobs"][0]["status"] == "cancelled"
    again = (await client.call_tool("train_lora", {"resume": job_id})).structured_content
    assert again is not None
    assert again["job"]["job_id"] == job_id


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"dataset": "nowhere"}, "There is no folder or picture"),
        ({"steps": 0}, "steps=0 is out of range"),
        ({"model": "none/such/model"}, "model"),
        ({"name": "My Game"}, "cannot be a LoRA's name"),
        ({"resume": "x"}, "There is no job"),
    ],
)
async def test_what_cannot_be_trained_is_refused_immediately(
    client: Client[Any], settings: Settings, arguments: dict[str, Any], words: str
) -> None:
    with pytest.raises(ToolError, match=words):
        await client.call_tool("train_lora", arguments)
    assert not (settings.data_dir / "jobs").exists()


def test_pictures_are_found_from_the_game_or_must_be_named(studio: Studio, game: Path) -> None:
    project = studio.require_project()
    assert dataset_path(project, "") == game / "assets"
    assert dataset_path(project, "art/new") == game / "art" / "new"
    assert dataset_path(None, str(game)) == game
    with pytest.raises(ServerError, match="No pictures were named"):
        dataset_path(None, "")


def test_a_model_on_a_gpu_makes_room_for_its_training(studio: Studio, backend: FakeBackend, art: Path) -> None:
    make_room(studio, "embedded")  # nothing was drawn yet: nothing is woken
    assert not studio.awake
    backend.resident = ["embedded"]
    backend.describe = lambda: {"device": "cuda:0", "resident": [{"model": "embedded"}]}  # type: ignore[method-assign]
    with studio.engine.lease("a drawing", no_progress):
        pass
    start_training(studio, TrainRequest(dataset=str(art), name="mygame"))
    assert backend.resident == []
