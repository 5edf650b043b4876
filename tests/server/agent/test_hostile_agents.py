"""An agent that sends what it likes harms neither the server nor other users."""

from __future__ import annotations

import base64
import json
from contextlib import suppress
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import anyio
import pytest
from fastmcp.exceptions import ToolError

from server.agent import wire
from server.agent.games import RemoteGames
from server.agent.wire import Facts, Failed, Order, key_of, new_id, sign
from server.errors import DeployError
from server.settings import Settings
from server.users import Users
from tests.server.agent.conftest import NAME, Connect, call, drawn

FACTS = {"package": "keep", "assets": "/home/ann/keep/assets", "bevy_minor": 19}


class FalseAgent:
    """Speaks to the server by hand."""

    def __init__(self, port: int, token: str, user: str = "ann") -> None:
        self.port, self.key, self.user = port, key_of(token), user
        self.session, self.sequence = "", 0

    def send(self, path: str, body: bytes, session: str, sequence: int, mac: str) -> tuple[int, dict[str, Any]]:
        connection = HTTPConnection("127.0.0.1", self.port, timeout=60)
        headers = {wire.USER: self.user, wire.SESSION: session, wire.SEQUENCE: str(sequence), wire.MAC: mac}
        try:
            connection.request("POST", path, body, headers)
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read())
        finally:
            connection.close()

    def hello(self, game: str = "keep", protocol: int = wire.PROTOCOL) -> tuple[int, dict[str, Any]]:
        body = json.dumps({"protocol": protocol, "game": game}).encode()
        nonce = new_id()
        status, answer = self.send(wire.HELLO, body, nonce, 0, sign(self.key, "hello", nonce, 0, body))
        if status == 200:
            self.session, self.sequence = answer["session"], 0
        return status, answer

    def poll(self, **message: Any) -> tuple[int, dict[str, Any]]:
        body = json.dumps(message).encode()
        self.sequence += 1
        mac = sign(self.key, "poll", self.session, self.sequence, body)
        return self.send(wire.POLL, body, self.session, self.sequence, mac)


@pytest.fixture(autouse=True)
def quick_polls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("server.agent.routes.POLL_SECONDS", 0.05)


@pytest.fixture
def false(port: int, ann: str) -> FalseAgent:
    """An agent with Ann's token that has registered her game."""
    agent = FalseAgent(port, ann)
    agent.hello()
    assert agent.poll(facts=FACTS)[0] == 200
    return agent


def test_messages_that_are_unsigned_changed_or_used_before_are_refused(false: FalseAgent) -> None:
    body = json.dumps({"facts": {**FACTS, "package": "evil"}}).encode()
    right = sign(false.key, "poll", false.session, 2, body)
    assert false.send(wire.POLL, body, false.session, 2, "")[0] == 401
    assert false.send(wire.POLL, body + b" ", false.session, 2, right)[0] == 401
    assert false.send(wire.POLL, body, false.session, 3, right)[0] == 401
    assert false.send(wire.POLL, body, new_id(), 2, right)[0] == 401
    assert false.send(wire.POLL, body, false.session, 2, "é")[0] == 401
    assert false.send(wire.POLL, body, false.session, 2, right)[0] == 200
    assert false.send(wire.POLL, body, false.session, 2, right)[0] == 409


def test_a_hello_that_is_sent_again_takes_nothing_over(false: FalseAgent) -> None:
    before = false.session, false.sequence
    assert false.hello()[0] == 200
    false.session, false.sequence = before
    assert false.poll()[0] == 200


def test_a_session_of_another_user_is_not_used(port: int, false: FalseAgent, users: Users) -> None:
    bob = FalseAgent(port, users.add("bob"), "bob")
    bob.session = false.session
    bob.sequence = 10
    assert bob.poll(facts=FACTS)[0] == 409


@pytest.mark.parametrize(
    "facts",
    [
        {"package": "../evil"},
        {"package": 'x"\n[dependencies]\nbevy = { path = "/" }'},
        {"palette": base64.b64encode(bytes((1 << 20) + 1)).decode(), "palette_ending": ".hex"},
        {"palette": "QUJD", "palette_ending": "/../../evil"},
        {"style": "x" * 70_000},
        {"style": 'palette = "../../../tokens.json"'},
        {"style": 'folders = { assets = "/etc" }'},
        {"style": "not toml ["},
        {"more": "x"},
    ],
    ids=lambda facts: next(iter(facts)),
)
def test_facts_that_break_a_rule_are_refused(port: int, ann: str, settings: Settings, facts: dict[str, str]) -> None:
    agent = FalseAgent(port, ann)
    agent.hello()
    assert agent.poll(facts={**FACTS, **facts})[0] == 400
    names = {path.name for path in (settings.data_dir / "users").rglob("*") if path.is_file()}
    assert names <= {"Cargo.toml", "place.txt", "dgx-pixels.toml"}


@pytest.mark.parametrize("name", ["../bob", "", "A", "a/b", "x" * 40, "a\0"])
def test_names_that_are_no_games_are_refused(port: int, ann: str, name: str) -> None:
    assert FalseAgent(port, ann).hello(name)[0] == 400


def test_another_version_is_told_so(port: int, ann: str) -> None:
    assert FalseAgent(port, ann).hello(protocol=99)[0] == 426


def test_messages_that_are_too_long_are_refused(port: int, ann: str) -> None:
    agent = FalseAgent(port, ann)
    agent.hello()
    body = bytes((8 << 20) + 1)
    with suppress(OSError):  # the server closes the connection before it has read all
        assert agent.send(wire.POLL, body, agent.session, 1, "")[0] == 401


def test_a_user_registers_a_limited_number_of_games(port: int, ann: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("server.agent.games.MOST_GAMES", 2)
    statuses = []
    for number in range(3):
        agent = FalseAgent(port, ann)
        agent.hello(f"game{number}")
        statuses.append(agent.poll(facts=FACTS)[0])
    assert statuses == [200, 200, 400]


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("answer", "status", "message"),
    [
        ({"op": "placed", "state": "written", "paths": ["../../etc/passwd"]}, 400, "gave up"),
        ({"op": "placed", "state": "written", "paths": ["a.png"] * 129}, 400, "gave up"),
        ({"op": "placed", "state": "conquered", "paths": ["a.png"]}, 400, "gave up"),
        ({"op": "placed", "state": "written", "paths": ["a.png"], "note": "x" * 2001}, 400, "gave up"),
        ({"op": "deployments", "deployments": []}, 200, "answered another question"),
        ({"op": "failed", "error": "\x1b[2J" + "x" * 1000}, 200, r"\\x1b\[2Jx"),
    ],
    ids=["path", "many paths", "state", "long note", "another question", "escape sequence"],
)
async def test_answers_that_break_a_rule_become_errors(
    connect: Connect,
    ann: str,
    false: FalseAgent,
    answer: dict[str, Any],
    status: int,
    message: str,
) -> None:
    def work() -> None:
        while not (request := false.poll()[1].get("request")):
            pass
        filled = {"id": request["id"], **answer}
        if answer["op"] == "placed":
            filled |= {"asset_id": request["asset_id"], "verification": "not_asked"}
        statuses.append(false.poll(answer=filled)[0])
        if status == 400:  # the request is still open
            false.poll(answer={"op": "failed", "id": request["id"], "error": "gave up"})

    statuses: list[int] = []
    async with connect(ann) as client:
        asset = await drawn(client)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(anyio.to_thread.run_sync, work)
            with pytest.raises(ToolError, match=message):
                await call(client, "deploy_asset", asset_id=asset, path="a.png", project=NAME)
    assert statuses == [status]


@pytest.mark.anyio
async def test_a_screenshot_that_is_not_a_picture_is_left_out(connect: Connect, ann: str, false: FalseAgent) -> None:
    def work() -> None:
        while not (request := false.poll()[1].get("request")):
            pass
        placed = {
            "op": "placed",
            "id": request["id"],
            "state": "written",
            "asset_id": request["asset_id"],
            "paths": ["a.png"],
            "verification": "reloaded",
            "screenshot": base64.b64encode(b"<script>").decode(),
        }
        assert false.poll(answer=placed)[0] == 200

    result = None
    async with connect(ann) as client:
        asset = await drawn(client)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(anyio.to_thread.run_sync, work)
            result = await client.call_tool("deploy_asset", {"asset_id": asset, "path": "a.png", "project": NAME})
    assert result is not None
    assert [block.type for block in result.content] == ["text"]


def test_what_an_agent_registers_stays_in_its_users_folder(
    false: FalseAgent, settings: Settings, tmp_path: Path
) -> None:
    made = {path for path in settings.data_dir.rglob("*") if path.is_file()}
    outside = {path.name for path in made if not path.is_relative_to(settings.data_dir / "users/ann/games/keep")}
    assert outside <= {"tokens.json", "tokens.lock", "audit.jsonl"}


@pytest.mark.anyio
async def test_an_agent_that_never_answers_holds_a_few_threads_at_most(settings: Settings) -> None:
    games = RemoteGames(settings.data_dir)
    games.register("ann", "keep", Facts.model_validate(FACTS))
    project = games.find("ann", NAME)
    assert project is not None
    line = games.line(NAME)
    line.accept(line.offer(), 1)
    refused: list[str] = []

    def check() -> None:
        try:
            games.check(project)
        except DeployError as error:
            refused.append(str(error))

    async with anyio.create_task_group() as tasks:
        for _ in range(9):
            tasks.start_soon(anyio.to_thread.run_sync, check)
        with anyio.fail_after(30):
            while not refused:
                await anyio.sleep(0.01)
        assert line.waiting == 8
        assert "8 requests wait" in refused[0]
        while body := await line.next(0.0):
            order = Order.model_validate_json(body)
            assert order.request is not None
            line.take(Failed(id=order.request.id, error="gave up"))
    assert refused[1:] == ["gave up"] * 8
