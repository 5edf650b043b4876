"""Several people share one HTTP server: each is let in by name and confined to what is theirs."""

from __future__ import annotations

import base64
import json
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import httpx2
import pytest
from fastmcp import Client
from fastmcp.client.transports import StreamableHttpTransport
from fastmcp.exceptions import ToolError
from fastmcp.server.auth import AccessToken
from mcp_types import (
    CLIENT_CAPABILITIES_META_KEY,
    CLIENT_INFO_META_KEY,
    PROTOCOL_VERSION_META_KEY,
    ResourceTemplateReference,
)

from pipelines.pixels.png import encode_png
from server.errors import ServerError
from server.protocol.app import create_server
from server.protocol.tasks import EXTENSION
from server.protocol.users import Tokens, caller
from server.settings import Settings
from server.storage import used
from server.users import Users
from tests.fakes import FakeBackend, fake_picture
from tests.server.conftest import CARGO

OPERATOR = "0123456789abcdef0123"
Connect = Callable[[str], AbstractAsyncContextManager[Client[Any]]]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def app(game: Path, settings: Settings, users: Users, backend: FakeBackend) -> Any:
    settings = settings.model_copy(update={"preload": "none"})
    server = create_server(settings, backend, Tokens(users, OPERATOR), users)
    return server.http_app(json_response=True, stateless_http=True)


@pytest.fixture
async def connect(app: Any) -> AsyncIterator[Connect]:
    """Opens a client with a token, over HTTP as far as the socket."""

    def http(
        headers: dict[str, str] | None = None,
        timeout: Any = None,
        auth: httpx2.Auth | None = None,
        follow_redirects: bool = True,  # given by fastmcp, and not in the protocol of its factory
    ) -> httpx2.AsyncClient:
        return httpx2.AsyncClient(
            transport=httpx2.ASGITransport(app),
            headers=headers,
            auth=auth,
            timeout=timeout or 60,
            follow_redirects=follow_redirects,
        )

    @asynccontextmanager
    async def client(token: str) -> AsyncIterator[Client[Any]]:
        transport = StreamableHttpTransport("http://127.0.0.1:8765/mcp", auth=token, httpx_client_factory=http)
        async with Client(transport) as opened:
            yield opened

    async with app.router.lifespan_context(app):
        yield client


async def call(client: Client[Any], tool: str, **arguments: Any) -> dict[str, Any]:
    answer = (await client.call_tool(tool, arguments)).structured_content
    assert answer is not None
    return answer


@pytest.mark.anyio
async def test_a_token_opens_the_users_own_game_and_no_other(
    connect: Connect, users: Users, game: Path, theirs: Path
) -> None:
    async with connect(users.add("ann", [game])) as ann:
        drawn = await call(ann, "generate_sprite", prompt="red dragon", candidates=1)
        await call(ann, "deploy_asset", asset_id=drawn["asset_id"])
        assert list((game / "assets").rglob("*.png"))
        with pytest.raises(ToolError, match="of your games"):
            await call(ann, "deploy_asset", asset_id=drawn["asset_id"], project=str(theirs))
        with pytest.raises(ToolError, match="of your games"):
            await call(ann, "list_assets", project=str(theirs))
    assert not list((theirs / "assets").rglob("*"))


@pytest.mark.anyio
async def test_a_game_may_be_named_relative_to_the_server(
    connect: Connect, users: Users, theirs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(theirs)
    inner = theirs / "games" / "keep"
    inner.mkdir(parents=True)
    (inner / "Cargo.toml").write_text(CARGO)
    async with connect(users.add("ann", [inner])) as ann:
        assert (await call(ann, "list_assets", project="games/keep"))["total"] == 0


@pytest.mark.anyio
async def test_a_link_out_of_the_game_opens_no_other(connect: Connect, users: Users, game: Path, theirs: Path) -> None:
    (game / "link").symlink_to(theirs)
    async with connect(users.add("ann", [game])) as ann:
        with pytest.raises(ToolError, match="of your games"):
            await call(ann, "list_assets", project=str(game / "link"))


@pytest.mark.anyio
async def test_what_one_user_drew_is_not_found_by_another(
    connect: Connect, users: Users, game: Path, theirs: Path
) -> None:
    async with connect(users.add("ann", [game])) as ann, connect(users.add("bob", [theirs])) as bob:
        drawn = await call(ann, "generate_sprite", prompt="red dragon", candidates=1)
        with pytest.raises(ToolError, match=drawn["asset_id"]):
            await call(bob, "deploy_asset", asset_id=drawn["asset_id"])
        with pytest.raises(Exception, match=drawn["asset_id"]):
            await bob.read_resource(f"sprite://{drawn['asset_id']}")


@pytest.mark.anyio
async def test_asset_ids_of_others_are_not_offered_as_completions(connect: Connect, users: Users) -> None:
    async with connect(users.add("ann")) as ann, connect(OPERATOR) as operator:
        ids = []
        for client in (ann, operator):
            ids.append((await call(client, "generate_sprite", prompt="red dragon", candidates=1))["asset_id"])
        for client, own in zip((ann, operator), ids, strict=True):
            reference = ResourceTemplateReference(type="ref/resource", uri="sprite://{asset_id}")
            found = await client.complete(reference, {"name": "asset_id", "value": ""})
            assert found.values == [own]


@pytest.mark.anyio
async def test_users_without_a_game_keep_libraries_of_their_own(
    connect: Connect, users: Users, settings: Settings
) -> None:
    async with connect(users.add("ann")) as ann, connect(users.add("bob")) as bob:
        drawn = await call(ann, "generate_sprite", prompt="red dragon", candidates=1)
        assert (await call(ann, "list_assets"))["total"] == 1
        assert (await call(bob, "list_assets"))["total"] == 0
    assert Path(drawn["paths"][0]).is_relative_to(settings.data_dir / "users" / "ann")


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("tool", "arguments"),
    [
        ("fix_pixel_art", {"picture": "{outside}/picture.png"}),
        ("slice_sheet", {"picture": "{outside}/picture.png"}),
        ("generate_sprite", {"prompt": "dragon", "sketch": "{outside}/picture.png"}),
        ("generate_sprite", {"prompt": "dragon", "model": "{outside}/model.safetensors"}),
        ("generate_sprite", {"prompt": "dragon", "palette": "{outside}/palette.hex"}),
        ("train_lora", {"dataset": "{outside}", "name": "stolen"}),
        ("run_workflow", {"workflow": "{outside}/workflow.json"}),
        ("compare_models", {"prompts": ["imp"], "variants": ["embedded", "{outside}/model.safetensors"]}),
        ("compare_models", {"prompts": ["imp"], "variants": ["embedded", "+ {outside}/model.safetensors"]}),
        ("edit_sprite", {"asset_id": "{asset}", "prompt": "imp", "model": "{outside}/model.safetensors"}),
    ],
)
async def test_files_outside_of_the_users_games_are_not_read(
    connect: Connect, users: Users, game: Path, theirs: Path, tool: str, arguments: dict[str, Any]
) -> None:
    (theirs / "picture.png").write_bytes(encode_png(fake_picture("secret", 1, 32, 32)))
    (theirs / "model.safetensors").write_bytes(b"secret")
    (theirs / "palette.hex").write_text("112233\n445566\n")
    (theirs / "workflow.json").write_text('{"secret": 1}')
    async with connect(users.add("ann", [game])) as ann:
        drawn = await call(ann, "generate_sprite", prompt="red dragon", candidates=1) if tool == "edit_sprite" else {}
        kept = set((game / ".dgx-pixels").rglob("*.png"))
        text = json.dumps(arguments).replace("{outside}", str(theirs)).replace("{asset}", drawn.get("asset_id", ""))
        given = json.loads(text)
        with pytest.raises(ToolError, match=r"outside|There is no|not one of"):
            await call(ann, tool, **given)
    assert set((game / ".dgx-pixels").rglob("*.png")) == kept


@pytest.mark.anyio
async def test_the_operators_token_may_do_everything(connect: Connect, users: Users, game: Path, theirs: Path) -> None:
    users.add("ann", [game])
    async with connect(OPERATOR) as operator:
        drawn = await call(operator, "generate_sprite", prompt="red dragon", candidates=1)
        await call(operator, "deploy_asset", asset_id=drawn["asset_id"], project=str(theirs))
    assert list((theirs / "assets").rglob("*.png"))


@pytest.mark.anyio
async def test_a_removed_token_is_refused_from_the_next_request_on(connect: Connect, users: Users, game: Path) -> None:
    token = users.add("ann", [game])
    async with connect(token) as ann:
        await call(ann, "list_assets")
        users.remove("ann")
        with pytest.raises(Exception, match="error response"):
            await call(ann, "list_assets")


def test_a_user_who_is_removed_while_a_request_runs_does_not_become_the_operator(users: Users) -> None:
    with pytest.raises(ServerError, match="removed"):
        caller(users, AccessToken(token="t", client_id="user:ann", scopes=[]))


def test_confining_users_needs_no_extra(users: Users) -> None:
    code = "import sys; sys.modules['prometheus_client'] = None; import server.protocol.users"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[3])


@pytest.mark.anyio
async def test_pixels_beyond_a_users_minute_are_refused(connect: Connect, users: Users, game: Path) -> None:
    async with connect(users.add("ann", [game], pixels_per_minute=40 * 40)) as ann:
        await call(ann, "generate_sprite", prompt="red dragon", candidates=1)
        with pytest.raises(ToolError, match="Ask again in"):
            await call(ann, "generate_sprite", prompt="blue dragon", candidates=1)


@pytest.mark.anyio
async def test_each_change_has_a_line_in_the_audit_file_and_reading_has_none(
    connect: Connect, users: Users, game: Path, theirs: Path, settings: Settings
) -> None:
    async with connect(users.add("ann", [game])) as ann:
        drawn = await call(ann, "generate_sprite", prompt="red dragon", candidates=1)
        await call(ann, "list_assets")
        with pytest.raises(ToolError):
            await call(ann, "deploy_asset", asset_id=drawn["asset_id"], project=str(theirs))
    lines = [json.loads(line) for line in (settings.data_dir / "audit.jsonl").read_text().splitlines()]
    assert [(line["user"], line["tool"], line["outcome"]) for line in lines] == [
        ("ann", "generate_sprite", "ok"),
        ("ann", "deploy_asset", "error"),
    ]
    assert lines[0]["asset"] == drawn["asset_id"]
    assert lines[1]["project"] == str(theirs)


@pytest.mark.anyio
async def test_a_user_whose_storage_is_full_draws_again_when_something_was_deleted(
    connect: Connect, users: Users, settings: Settings, game: Path
) -> None:
    async with connect(users.add("ann", storage=200_000)) as ann:
        refused = ""
        for seed in range(1000):  # what was measured just now is believed for a moment
            arguments = {"prompt": "red dragon", "candidates": 1, "seed": seed}
            answer = await ann.call_tool("generate_sprite", arguments, raise_on_error=False)
            if answer.is_error:
                refused = str(answer.content)
                break
        assert re.search(r"Your storage is full: \d\d\d KB of 200 KB", refused)
        kept = (await call(ann, "list_assets"))["total"]
        picture = f"data:image/png;base64,{base64.b64encode(encode_png(fake_picture('x', 1, 16, 16))).decode()}"
        for tool, arguments in (
            ("fix_pixel_art", {"picture": picture}),
            ("train_lora", {"dataset": str(settings.data_dir / "users/ann/library/assets"), "name": "mine"}),
            ("generate_sprite", {"prompt": "blue dragon"}),
        ):
            with pytest.raises(ToolError, match="Your storage is full"):
                await call(ann, tool, **arguments)
        assert (await call(ann, "list_assets"))["total"] == kept
        assert not (settings.data_dir / "users/ann/library/uploads").exists()
        shutil.rmtree(settings.data_dir / "users/ann/library/previews")
        shutil.rmtree(settings.data_dir / "users/ann/library/assets")
        await call(ann, "generate_sprite", prompt="red dragon", candidates=1, seed=5000)
    async with connect(users.add("bob")) as bob:
        await call(bob, "generate_sprite", prompt="red dragon", candidates=1)


def test_training_jobs_count_as_storage_of_their_owner(settings: Settings) -> None:
    put_job(settings, "0123456789abcdef", "ann", bytes(5000))
    assert 5000 < used("ann", settings.data_dir) < 6000
    assert used("bob", settings.data_dir) == 0


@pytest.mark.anyio
async def test_a_training_job_is_its_owners_alone(connect: Connect, users: Users, settings: Settings) -> None:
    job = put_job(settings, "0123456789abcdef", "ann")
    async with connect(users.add("ann")) as ann, connect(users.add("bob")) as bob, connect(OPERATOR) as operator:
        for owner in (ann, operator):
            assert [item["job_id"] for item in (await call(owner, "get_job"))["jobs"]] == [job]
            assert (await call(owner, "get_job", job_id=job))["jobs"][0]["status"] == "done"
        assert not (await call(bob, "get_job"))["jobs"]
        for tool, arguments in (
            ("get_job", {"job_id": job}),
            ("cancel_job", {"job_id": job}),
            ("train_lora", {"resume": job}),
        ):
            with pytest.raises(ToolError, match=f"There is no job '{job}'"):
                await call(bob, tool, **arguments)
        with pytest.raises(Exception, match="There is no job"):
            await bob.read_resource(f"job://{job}")


@pytest.mark.anyio
@pytest.mark.parametrize("method", ["tasks/get", "tasks/cancel", "tasks/update"])
async def test_a_task_is_its_owners_alone(
    connect: Connect, app: Any, users: Users, settings: Settings, method: str
) -> None:
    job = put_job(settings, "0123456789abcdef", "ann")
    meta = {
        PROTOCOL_VERSION_META_KEY: "2026-07-28",
        CLIENT_INFO_META_KEY: {"name": "test", "version": "0"},
        CLIENT_CAPABILITIES_META_KEY: {"extensions": {EXTENSION: {}}},
    }
    body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": {"taskId": job, "_meta": meta}}
    said = []
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app)) as http:
        for name in ("ann", "bob"):
            headers = {
                "Authorization": f"Bearer {users.add(name)}",
                "Accept": "application/json, text/event-stream",
                "MCP-Protocol-Version": "2026-07-28",
                "Mcp-Method": method,
            }
            said.append((await http.post("http://127.0.0.1:8765/mcp", json=body, headers=headers)).json())
    assert said[0].get("result"), said[0]
    assert "There is no job" in said[1]["error"]["message"]


def put_job(settings: Settings, job_id: str, owner: str, lora: bytes = b"") -> str:
    """Puts a finished training job into the data folder."""
    folder = settings.data_dir / "jobs" / job_id
    folder.mkdir(parents=True)
    (folder / "spec.json").write_text(json.dumps({"name": "mine", "owner": owner, "model": "embedded", "created": 1.0}))
    (folder / "state.json").write_text(json.dumps({"status": "done"}))
    (folder / "lora.safetensors").write_bytes(lora)
    return job_id


@pytest.mark.anyio
async def test_a_share_of_two_is_drawn_twice_as_often_while_both_wait(
    connect: Connect, users: Users, backend: FakeBackend
) -> None:
    backend.gate = threading.Semaphore(0)
    tokens = users.add("ann", share=1), users.add("bob", share=2)
    waiting = 0
    async with (
        connect(OPERATOR) as operator,
        connect(tokens[0]) as ann,
        connect(tokens[1]) as bob,
        anyio.create_task_group() as tasks,
    ):
        for seed in range(14):
            for base, client in ((1000, ann), (2000, bob)):
                arguments = {"prompt": "red dragon", "candidates": 1, "seed": base + seed}
                tasks.start_soon(client.call_tool, "generate_sprite", arguments)
        with anyio.move_on_after(20):  # the backend gives up after 30
            while waiting < 27:
                waiting = len((await call(operator, "get_status"))["engine"].get("queued", []))
        backend.gate.release(10_000)
    first = [request.seeds[0] // 1000 for request in backend.requests[1:16]]  # one was drawn before the others asked
    assert len(backend.requests) == 28
    assert first.count(2) == pytest.approx(10, abs=1)
