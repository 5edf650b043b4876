"""The studio in a browser, seen from its HTTP side: login, runs, events, deploys, votes, other people, limits."""

from __future__ import annotations

import json
import secrets
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipelines.pixels.png import read_picture
from server.settings import Settings
from server.users import Users
from server.web.runs import MOST_UNFINISHED
from tests.fakes import FakeBackend
from tests.server.desk.serving import TOKEN
from tests.server.web.client import Page, Stream, drop_lora

RED_DRAGON = {"prompt": "red dragon", "count": 1}


def audit(settings: Settings) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (settings.data_dir / "audit.jsonl").read_text().splitlines()]


def test_a_named_token_logs_in_as_that_user(ann: Page, port: int, users: Users, game: Path) -> None:
    home = ann.get("home")
    assert (home["user"], home["game"], home["root"]) == ("ann", "mygame", str(game))
    assert [one["root"] for one in home["games"]] == [str(game)]
    operator = Page(port)
    assert operator.log_in(TOKEN)["user"] == ""
    assert operator.get("home")["user"] == ""


def test_what_is_drawn_is_followed_deployed_and_taken_back(ann: Page, game: Path, settings: Settings) -> None:
    run = ann.draw("red dragon", count=2, size=16, seed=7)
    assert run["state"] == "done"
    first, second = run["result"]["assets"]
    assert (first["width"], first["recipe"]["seed"], second["recipe"]["seed"]) == (16, 7, 8)
    assert "paths" not in first
    placed = ann.post("deploy", asset_id=second["id"])
    assert (placed["path"], placed["verification"]) == ("sprites/red_dragon.png", "game_not_running")
    assert read_picture(game / "assets" / placed["path"]).shape == (16, 16, 4)
    found = ann.get("library?text=dragon")
    assert {asset["id"]: asset["deployed"] for asset in found["assets"]} == {
        first["id"]: [],
        second["id"]: [placed["path"]],
    }
    status, said, _ = ann.send("POST", "deploy", {"asset_id": first["id"], "path": placed["path"]})
    assert (status, said["code"]) == (409, "overwrite")
    assert ann.post("deploy", asset_id=first["id"], path=placed["path"], overwrite=True)["state"] == "replaced"
    assert ann.post("undo", path=placed["path"])["state"] == "undone"
    assert ann.post("undo")["asset_id"] == second["id"]
    assert not (game / "assets" / placed["path"]).exists()
    assert [(line["user"], line["tool"], line["outcome"], line.get("path", "")) for line in audit(settings)] == [
        ("ann", "web: sprite", "ok", ""),
        ("ann", "web: deploy", "ok", placed["path"]),
        ("ann", "web: deploy", "error", placed["path"]),
        ("ann", "web: deploy", "ok", placed["path"]),
        ("ann", "web: undo", "ok", placed["path"]),
        ("ann", "web: undo", "ok", placed["path"]),
    ]
    assert audit(settings)[0]["asset"] == f"{first['id']} {second['id']}"


def test_every_step_is_told(ann: Page, backend: FakeBackend) -> None:
    backend.steps, backend.gate = 3, threading.Semaphore(0)
    seen: set[int] = set()
    run = ann.start(**RED_DRAGON)
    with Stream(ann) as stream:
        for _, data in stream:
            if data.get("id") != run:
                continue
            if data["done"] not in seen or data["state"] != "running":
                backend.gate.release()
            seen.add(data["done"])
            if data["state"] == "done":
                break
    assert {1, 2, 3} <= seen


def test_a_closed_page_loses_nothing_and_comes_back_where_it_was(ann: Page, backend: FakeBackend) -> None:
    backend.steps, backend.gate = 2, threading.Semaphore(0)
    earlier = ann.start(**RED_DRAGON)
    with Stream(ann) as stream:
        stream.until(lambda data: data.get("state") == "loading")
        last = stream.last
    for _ in range(2):
        backend.gate.release()
    with Stream(ann, last) as stream:
        hello = next(iter(stream))
        assert hello == ("hello", {"restarted": False, "runs": [earlier]})
        done = stream.until(lambda data: data.get("state") == "done")
        assert done["id"] == earlier
        last = stream.last
    assert ann.get("library")["total"] == 1
    backend.gate = None
    later = ann.draw("blue potion")["id"]
    with Stream(ann, last) as stream:  # what it has seen is not sent again
        assert stream.until(lambda data: "id" in data)["id"] == later


def test_a_page_of_an_earlier_server_is_told_that_it_was_started_again(ann: Page) -> None:
    run = ann.draw()
    with Stream(ann, "00000000-41") as stream:
        assert next(iter(stream)) == ("hello", {"restarted": True, "runs": [run["id"]]})
        assert stream.until(lambda data: "id" in data)["state"] == "done"


def test_a_cancel_stops_at_the_next_step(ann: Page, backend: FakeBackend, settings: Settings) -> None:
    backend.steps, backend.gate = 1000, threading.Semaphore(0)
    run = ann.start(**RED_DRAGON)
    with Stream(ann) as stream:
        stream.until(lambda data: data.get("state") == "loading")
        ann.post(f"runs/{run}/cancel")
        backend.gate.release()
        assert stream.until(lambda data: data.get("state") in ("done", "failed", "cancelled"))["state"] == "cancelled"
    assert ann.get("library")["total"] == 0
    assert ann.refused(f"runs/{run}/cancel")[0] == 404
    assert [(line["tool"], line["outcome"]) for line in audit(settings)] == [("web: sprite", "cancelled")]


def test_a_request_that_is_sent_twice_draws_once(ann: Page, backend: FakeBackend) -> None:
    run = secrets.token_hex(8)
    for _ in range(2):
        ann.post("runs", kind="sprite", id=run, **RED_DRAGON)
    ann.follow(run)
    assert ann.get("library")["total"] == 1


def test_an_animation_is_a_choice(ann: Page) -> None:
    run = ann.follow(ann.start("animation", prompt="green goblin", motions=["idle"], size=32, seed=5))
    assert run["state"] == "done", run["error"]
    (sheet,) = run["result"]["assets"]
    assert (sheet["kind"], list(sheet["sheet"]["animations"])) == ("sheet", ["idle"])
    again = ann.follow(
        ann.start("animation", asset_id=ann.draw(size=32)["result"]["assets"][0]["id"], motions=["walk"])
    )
    assert list(again["result"]["assets"][0]["sheet"]["animations"]) == ["walk"]


def test_a_mistake_is_a_sentence_that_says_what_to_do(ann: Page) -> None:
    run = ann.draw("red dragon", size=100_000)
    assert run["state"] == "failed"
    assert "8 to 96 pixels" in run["error"]
    assert "prompt is empty" in ann.draw(" ")["error"]
    assert "count" in ann.refused("runs", kind="sprite", id=secrets.token_hex(8), prompt="x", count=99)[1]
    assert "16 hex digits" in ann.refused("runs", kind="sprite", id="../x", prompt="x")[1]


def test_a_comparison_stays_blind_until_the_vote(ann: Page, bob: Page, settings: Settings) -> None:
    drop_lora(settings.data_dir, "glow")
    assert ann.get("home")["variants"] == ["embedded", "embedded + glow@1", "embedded + glow@0.6"]
    asked = {"prompt": "imp", "variants": ["embedded", "embedded + glow@0.6"], "count": 2, "size": 16}
    run = ann.follow(ann.start("compare", **asked))
    assert run["state"] == "done", run["error"]
    (contest,) = ann.get("contests")["contests"]
    assert (contest["id"], contest["labels"], contest["winner"]) == (run["result"]["contest"], ["A", "B"], "")
    assert [len(column) for column in contest["cells"]] == [2, 2]
    assert "glow" not in json.dumps(contest)
    assert {one["recipe"]["model"] for one in ann.get("library")["assets"]} == {"shown after the vote"}
    assert bob.get("contests")["contests"] == []
    assert bob.refused("vote", comparison=contest["id"], winner="A")[0] == 409
    voted = ann.post("vote", comparison=contest["id"], winner="B")
    assert voted["winner"] == "B"
    assert sorted(label[3:] for label in voted["labels"]) == ["embedded", "embedded + glow@0.6"]
    assert [place["pairs"] for place in voted["ranking"]] == [1, 1]
    assert audit(settings)[-1]["tool"] == "web: vote"


def test_another_user_sees_and_changes_nothing(
    ann: Page, bob: Page, theirs: Path, game: Path, backend: FakeBackend
) -> None:
    asset = ann.draw()["result"]["assets"][0]["id"]
    assert bob.get("library")["total"] == 0
    assert asset in bob.refused("deploy", asset_id=asset)[1]
    for path in ("library", "contests"):
        status, said, _ = bob.send("GET", f"{path}?project={game}")
        assert status == 409
        assert "of your games" in said["error"]
    home = bob.get(f"home?project={game}")
    assert home.keys() == {"games", "problem", "user", "version"}
    assert "of your games" in home["problem"]
    assert "of your games" in bob.refused("deploy", asset_id=asset, project=str(game))[1]
    own = bob.draw(project=str(game))
    assert "of your games" in own["error"]
    backend.gate = threading.Semaphore(0)
    run = ann.start(**RED_DRAGON)
    assert bob.refused(f"runs/{run}/cancel")[0] == 404
    assert "taken" in bob.refused("runs", kind="sprite", id=run, prompt="x")[1]
    with Stream(bob) as stream:  # bob's own failed run, and nothing of ann's
        events = iter(stream)
        assert next(events)[0] == "hello"
        assert next(events)[1]["id"] == own["id"]
    backend.gate = None
    assert not list((theirs / "assets").rglob("*.png"))


def test_a_checkpoint_outside_of_the_own_games_is_not_read(ann: Page, theirs: Path) -> None:
    (theirs / "model.safetensors").write_bytes(b"secret")
    outside = str(theirs / "model.safetensors")
    assert "outside of your games" in ann.draw(model=outside)["error"]
    run = ann.follow(ann.start("compare", prompt="imp", variants=["embedded", outside], count=1))
    assert "outside of your games" in run["error"]


def test_the_limits_of_a_user_hold_on_the_page(
    open_page: Callable[[str], Page], users: Users, game: Path, backend: FakeBackend
) -> None:
    page = open_page(users.add("cay", [game], waiting=1, pixels_per_minute=40 * 40))
    assert page.draw()["state"] == "done"
    assert "Ask again in" in page.draw("blue dragon")["error"]
    other = open_page(users.add("dee", [game], waiting=1))
    backend.gate = threading.Semaphore(0)
    first = other.start(**RED_DRAGON)
    with Stream(other) as stream:
        stream.until(lambda data: data.get("id") == first and data["state"] == "running")
        second = other.start(**RED_DRAGON)
        stream.until(lambda data: data.get("id") == second and data["message"].startswith("waiting behind"))
        third = other.start(**RED_DRAGON)
        failed = stream.until(lambda data: data.get("id") == third and data["state"] == "failed")
        assert "1 of your requests wait already" in failed["error"]
        for _ in range(2 * backend.steps):
            backend.gate.release()
        stream.until(lambda data: data.get("id") == second and data["state"] == "done")


def test_unfinished_runs_have_an_end_for_everybody(port: int, backend: FakeBackend) -> None:
    operator = Page(port)
    operator.log_in(TOKEN)
    backend.gate = threading.Semaphore(0)
    for _ in range(MOST_UNFINISHED):
        operator.start(**RED_DRAGON)
    assert "unfinished" in operator.refused("runs", kind="sprite", id=secrets.token_hex(8), prompt="x")[1]
    backend.gate = None


def test_a_removed_token_ends_its_sessions_and_streams(
    ann: Page, users: Users, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("server.web.routes.LOOK_AGAIN", 0.05)
    with Stream(ann) as stream:
        events = iter(stream)
        next(events)
        users.remove("ann")
        assert list(events) == []  # the server ends it
        status, said, _ = ann.send("GET", "home")
        assert (status, said["code"]) == (401, "login")
        assert ann.refused("runs", kind="sprite", id=secrets.token_hex(8), prompt="x")[0] == 401
