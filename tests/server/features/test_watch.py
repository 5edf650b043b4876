"""A saved recipe or palette changes the game's pictures, and a bad one is a line and nothing more."""

from __future__ import annotations

import json
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from pipelines.pixels.png import read_picture
from server.features.watch import Watch
from server.studio import Studio
from tests.fakes import FakeBackend


@pytest.fixture
def lines() -> list[str]:
    return []


@pytest.fixture
def watch(studio: Studio, lines: list[str]) -> Watch:
    return Watch(studio, studio.require_project(), lines.append)


def save(game: Path, name: str, **recipe: object) -> Path:
    path = game / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(recipe), encoding="utf-8")
    return path


def test_a_recipe_makes_its_picture_and_only_once(
    watch: Watch, game: Path, lines: list[str], backend: FakeBackend
) -> None:
    path = save(game, "art/Stone Golem.sprite.json", prompt="stone golem", size=16)
    watch.handle(path)
    watch.handle(path)
    picture = read_picture(game / "assets/sprites/stone_golem.png")
    assert picture.shape == (16, 16, 4)
    assert len(backend.requests) == 1
    assert len(lines) == 1


def test_a_recipe_with_a_bom_makes_its_picture(watch: Watch, game: Path) -> None:
    (game / "golem.sprite.json").write_text('{"prompt": "stone golem", "size": 16}', encoding="utf-8-sig")
    watch.handle(game / "golem.sprite.json")
    assert read_picture(game / "assets/sprites/golem.png").shape == (16, 16, 4)


def test_a_changed_recipe_remakes_it(watch: Watch, game: Path) -> None:
    path = save(game, "golem.sprite.json", prompt="stone golem", path="enemies/golem.png")
    watch.handle(path)
    before = (game / "assets/enemies/golem.png").read_bytes()
    watch.handle(save(game, "golem.sprite.json", prompt="ice golem", path="enemies/golem.png"))
    assert (game / "assets/enemies/golem.png").read_bytes() != before


def test_the_same_recipe_makes_the_same_picture_on_another_day(watch: Watch, studio: Studio, game: Path) -> None:
    path = save(game, "golem.sprite.json", prompt="stone golem")
    watch.handle(path)
    before = (game / "assets/sprites/golem.png").read_bytes()
    (game / ".dgx-pixels/watch.json").unlink()
    Watch(studio, studio.require_project(), lambda line: None).handle(path)
    assert (game / "assets/sprites/golem.png").read_bytes() == before


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ('{"prompt": "golem", "size": "huge"}', "size"),
        ('{"prompt": "golem", "colour": 3}', "colour"),
        ('{"prompt": "gol', "invalid json"),
        ('{"size": 16}', "prompt"),
        ('{"prompt": "golem", "path": "../outside.png"}', "outside"),
        ('{"prompt": "golem", "palette": "missing.hex"}', "missing.hex"),
    ],
)
def test_a_bad_recipe_is_one_line_and_the_old_picture_stays(
    watch: Watch, game: Path, lines: list[str], content: str, said: str
) -> None:
    path = save(game, "golem.sprite.json", prompt="golem")
    watch.handle(path)
    before = (game / "assets/sprites/golem.png").read_bytes()
    lines.clear()
    path.write_text(content, encoding="utf-8")
    watch.handle(path)
    assert len(lines) == 1
    assert said in lines[0].lower()
    assert (game / "assets/sprites/golem.png").read_bytes() == before


def test_a_saved_palette_repaints_what_is_deployed_without_drawing(
    studio: Studio, game: Path, lines: list[str], backend: FakeBackend
) -> None:
    (game / "dgx-pixels.toml").write_text('palette = "game.hex"\n', encoding="utf-8")
    (game / "game.hex").write_text("101010\n8080f0\nf0f0f0\n", encoding="utf-8")
    watch = Watch(studio, studio.require_project(), lines.append)
    watch.handle(game / "game.hex")
    watch.handle(save(game, "golem.sprite.json", prompt="stone golem"))
    drawn = len(backend.requests)
    before = read_picture(game / "assets/sprites/golem.png")
    (game / "game.hex").write_text("101010\nf08080\nf0f0f0\n", encoding="utf-8")
    watch.handle(game / "game.hex")
    after = read_picture(game / "assets/sprites/golem.png")
    assert len(backend.requests) == drawn
    was = (before[..., :3] == (0x80, 0x80, 0xF0)).all(axis=-1) & (before[..., 3] > 0)
    assert was.any()
    assert (after[was, :3] == (0xF0, 0x80, 0x80)).all()
    np.testing.assert_array_equal(after[~was], before[~was])
    assert "repainted 1" in lines[-1]


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    tick = threading.Event()
    while not condition():
        assert time.monotonic() < deadline
        tick.wait(0.02)


def test_a_folder_that_is_made_or_made_again_is_watched_and_target_is_not(
    watch: Watch, game: Path, lines: list[str], backend: FakeBackend
) -> None:
    save(game, "target/debug/early.sprite.json", prompt="crate")
    ready = threading.Event()
    thread = threading.Thread(target=watch.run, args=(ready.set,))
    thread.start()
    assert ready.wait(20)
    assert not [i for i in threading.enumerate() if str(game / "target") in str(getattr(i, "watch", ""))]
    for name in ("key", "ring"):
        save(game, f"art/deep/{name}.sprite.json", prompt=name)
        until(lambda name=name: (game / f"assets/sprites/{name}.png").is_file())
        shutil.rmtree(game / "art")
        until(lambda: not [t for t in threading.enumerate() if str(game / "art") in str(getattr(t, "watch", ""))])
    watch.stop()
    thread.join(20)
    assert len(backend.requests) == len(lines) == 2


def test_saves_are_seen_while_it_runs_and_stop_ends_it(watch: Watch, game: Path, lines: list[str]) -> None:
    save(game, "early.sprite.json", prompt="key")
    ready = threading.Event()
    thread = threading.Thread(target=watch.run, args=(ready.set,))
    thread.start()
    assert ready.wait(20)
    assert (game / "assets/sprites/early.png").is_file()
    save(game, "later.sprite.json", prompt="ring")
    until(lambda: (game / "assets/sprites/later.png").is_file())
    until(lambda: len(lines) == 2)
    watch.stop()
    thread.join(20)
    assert not thread.is_alive()
