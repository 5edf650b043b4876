"""The protocol's client against games of every version, and against other programs."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from server.deploy.bevy.brp import BrpClient, NotBevy, NotRunning, Refused, Silent
from tests.server.deploy.bevy.standin import StandIn

VERSIONS = ("0.15.3", "0.16.1", "0.17.3", "0.18.1", "0.19.1", "0.20.1")


@pytest.mark.parametrize("version", VERSIONS)
def test_games_of_every_version_are_asked_by_their_own_names(version: str, tmp_path: Path) -> None:
    with StandIn(tmp_path, version, plugin=False) as game:
        client = BrpClient(game.port)
        found = client.discover()
        assert found.version == ("" if version.startswith("0.15") else version)
        assert found.minor == int(version.split(".")[1])
        assert client.call("world.query", {"data": {}}) == []
        old = version < "0.17"
        assert game.asked[-1] == ("bevy/query" if old else "world.query")


def test_a_batch_answers_each_call_in_order(tmp_path: Path) -> None:
    with StandIn(tmp_path) as game:
        first, second, third = BrpClient(game.port).batch(
            [("world.query", None), ("no.such", None), ("world.query", {})]
        )
        assert first == []
        assert third == []
        assert isinstance(second, Refused)
        assert second.code == -32601


def test_watching_yields_what_comes_until_its_time_is_over(tmp_path: Path) -> None:
    with StandIn(tmp_path) as game:
        with BrpClient(game.port).watch("world.get_components+watch", {}, timeout=0.3) as results:
            events = list(results)
        assert events == [{"number": 0}, {"number": 1}, {"number": 2}]


@pytest.mark.parametrize("behaviour", ["silent", "drips"])
def test_a_game_that_does_not_answer_is_left_at_the_timeout(behaviour: str, tmp_path: Path) -> None:
    # the game hangs until the test ends: without a deadline there would be no answer
    with (
        StandIn(tmp_path, behaviour=behaviour) as game,
        pytest.raises(Silent, match="does not answer within"),
    ):
        BrpClient(game.port, timeout=0.3).discover()


@pytest.mark.parametrize("behaviour", ["http", "garbage", "rpc"])
def test_a_service_that_is_not_a_bevy_game_is_recognised(behaviour: str, tmp_path: Path) -> None:
    with StandIn(tmp_path, behaviour=behaviour) as game, pytest.raises(NotBevy, match="not a Bevy game"):
        BrpClient(game.port).discover()


def test_a_connection_that_is_closed_counts_as_no_game(tmp_path: Path) -> None:
    with StandIn(tmp_path, behaviour="closes") as game, pytest.raises(NotRunning):
        BrpClient(game.port).discover()


def test_nothing_on_the_port_is_reported_immediately() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])  # taken, so that nobody else can listen on it
        with pytest.raises(NotRunning, match=f"No game listens on port {port}"):
            BrpClient(port).discover()
