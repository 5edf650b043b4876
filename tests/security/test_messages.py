"""Users see a sentence with the reason when something is wrong, for errors of every origin."""

from __future__ import annotations

import errno
import json
from pathlib import Path
from typing import Any

import pytest
from fastmcp import Client
from fastmcp.exceptions import ToolError

from loras.worker import is_full_disk
from server.deploy.bevy.detect import detect
from server.deploy.bevy.manifest import CannotEdit, with_plugin
from server.errors import ProjectError
from server.features.workflow_runs import run
from server.protocol.app import create_server
from server.settings import Settings
from server.studio import Studio
from tests.fakes import FakeBackend
from workflows.errors import WorkflowError

DEEP: Any = []
for _ in range(200):
    DEEP = [DEEP]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("tool", "arguments", "message"),
    [
        ("fix_pixel_art", {"picture": "a\0b.png"}, "NUL character"),
        ("list_assets", {"project": "~nouser_at_all/game"}, "home folder"),
        ("run_workflow", {"workflow": "batch", "inputs": {"subjects": DEEP}}, "nested deeper than 32 levels"),
        ("generate_sprite", {"prompt": "imp", "palette": "²²²²²²"}, "palette"),
        ("generate_sprite", {"prompt": "imp", "seed": "x"}, "seed"),
        ("fix_pixel_art", {"picture": "/dev/zero"}, "There is no file"),
    ],
)
async def test_odd_arguments_are_answered_with_a_sentence(
    game: Path, settings: Settings, tool: str, arguments: dict[str, Any], message: str
) -> None:
    async with Client(create_server(settings, FakeBackend())) as client:
        with pytest.raises(ToolError, match=message) as error:
            await client.call_tool(tool, arguments)
    assert "Error" not in str(error.value)
    assert "unexpected" not in str(error.value)


def test_a_list_of_which_nothing_could_be_drawn_says_why(studio: Studio, game: Path) -> None:
    (game / "dgx-pixels.toml").write_text('model = "nowhere"\n')
    with pytest.raises(WorkflowError, match=r"none of the 2 items of step 'draw'.*There is no model '.*nowhere'"):
        run(studio, "batch", {"subjects": ["red potion", "gold key"]}, lambda *_: None)
    (entries,) = (game / ".dgx-pixels" / "runs").glob("*/done.jsonl")
    failed = [json.loads(line) for line in entries.read_text().splitlines() if not json.loads(line)["ok"]]
    assert len(failed) == 2


def test_a_full_disk_is_recognised_in_the_errors_of_torch_and_safetensors() -> None:
    assert is_full_disk(OSError(errno.ENOSPC, "No space left on device", "checkpoint.pt"))
    torch_error = RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 64 vs 0")
    torch_error.__context__ = OSError(errno.ENOSPC, "No space left on device")
    assert is_full_disk(torch_error)
    assert is_full_disk(Exception("I/O error: No space left on device (os error 28)"))
    assert not is_full_disk(ValueError("the loss is NaN"))


LONG = "9" * 5000


def test_numbers_of_thousands_of_digits_and_deep_lists_in_files_are_named(studio: Studio, game: Path) -> None:
    (game / "numbers.json").write_text(f"[{LONG}]")
    (game / "a.json").write_text(f'{{"name": {LONG}}}')
    for name, inputs, said in (
        ("item_set", {"items": "numbers.json"}, r"numbers.json holds a number that is too long"),
        ("a.json", {}, "A number in it is too long"),
        ("batch", {"subjects": f"[{LONG}]"}, "A number in this list is too long"),
    ):
        with pytest.raises(WorkflowError, match=said):
            run(studio, name, inputs, lambda *_: None)
    for text in (f"colors = {LONG}", "colors = " + "[" * 100_000):
        (game / "dgx-pixels.toml").write_text(text)
        with pytest.raises(ProjectError, match=r"dgx-pixels.toml (holds a number or a list|is not TOML)"):
            studio.project(game)
    (game / "dgx-pixels.toml").write_text("")
    project = studio.require_project(game)
    for text in (f"a = {LONG}", "a = " + "[" * 100_000):
        with pytest.raises(CannotEdit):
            with_plugin(text)
        (game / "Cargo.lock").write_text(text)
        assert detect(project).version
