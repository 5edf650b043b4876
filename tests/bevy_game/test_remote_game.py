"""The running game on the machine of an agent: a server elsewhere deploys into it, and is told what it shows."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from fastmcp import FastMCP

from pipelines.records import Recipe
from server.agent.client import Agent
from server.agent.routes import agent_routes
from server.agent.work import LocalGame
from server.deploy.bevy.screenshot import find_sprite, read_rgba
from server.deploy.deploy import deploy, undo
from server.desk.remote import Address
from server.settings import Settings
from server.studio import Studio
from server.users import USER, Users
from tests.bevy_game.running import Game, picture, wait_for
from tests.server.desk.serving import served

NAME = "ann/keep"


@pytest.fixture
def elsewhere(at_port: Game, tmp_path: Path) -> Iterator[Studio]:
    """A server's studio that reaches the running game through an agent alone."""
    users = Users(tmp_path / "data")
    token = users.add("ann")
    studio = Studio(Settings(data_dir=tmp_path / "data", preload="none"))
    server = FastMCP("agents")
    for route in agent_routes(lambda: studio.remote, users, lambda *_: None):
        server.custom_route(route.path, ["POST"])(route.endpoint)
    mark = USER.set(users.named("ann"))
    with (
        served(server) as port,
        _running(Agent(Address("127.0.0.1", port, token), NAME, LocalGame(at_port.root), print)),
    ):
        wait_for("the agent polls", lambda: bool(studio.remote.names("ann")) and studio.remote.line(NAME).connected)
        yield studio
    USER.reset(mark)
    studio.close()


@contextmanager
def _running(agent: Agent) -> Iterator[None]:
    thread = threading.Thread(target=agent.run)
    thread.start()
    yield
    agent.stop()
    thread.join()


def test_a_server_elsewhere_is_told_exactly_what_the_game_shows(elsewhere: Studio, at_port: Game) -> None:
    data = picture()
    shown = at_port.state("sprites/hero.png")["hash"]
    asset = elsewhere.library(None).add("sprite", {"sprite.png": data}, Recipe("sprite", "hero", 32, 32, 1))
    done = deploy(elsewhere, asset.id, "sprites/hero.png", NAME, overwrite=True)
    assert done.verification.state == "reloaded"
    assert "exactly the pixels of sprites/hero.png (32x32)" in done.verification.note
    screen, sprite = read_rgba(done.verification.screenshot), read_rgba(data)
    assert screen is not None
    assert sprite is not None
    assert find_sprite(screen, sprite)
    assert at_port.state("sprites/hero.png")["hash"] != shown
    assert undo(elsewhere, project=NAME).verification.state == "reloaded"
    assert at_port.state("sprites/hero.png")["hash"] == shown
