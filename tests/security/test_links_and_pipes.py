"""Captions, tables, layouts and datasets in whose place a link out of the folder, a pipe or a device lies."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from loras.dataset import Dataset, read_dataset
from pipelines.errors import UserError
from pipelines.pixels.png import encode_png
from pipelines.records import no_progress
from server.features.requests import EditRequest, SliceRequest, SpriteRequest
from server.features.slices import slice_sheet
from server.features.sprites import generate_sprites
from server.features.workflow_runs import run
from server.studio import Studio
from tests.security.test_files import soon
from tests.server.deploy.crash import make_game, open_studio

SECRET = "hunter2"
KINDS = ("link", "pipe", "link to a pipe", "device", "folder", "broken link")
CAPTIONS = ("hero.txt", "hero.caption", "metadata.jsonl", "metadata.csv")
TABLES = ("items.csv", "items.tsv")
LAYOUTS = ("hero.sheet.json", "hero.json", "hero.png.json", "other.json")
CONTENTS = {
    ".txt": f"{SECRET} sprite",
    ".caption": f"{SECRET} sprite",
    ".jsonl": json.dumps({"file_name": "hero.png", "text": f"{SECRET} sprite"}),
    ".csv": f"file_name,text,prompt\nhero.png,{SECRET} sprite,{SECRET}\n",
    ".tsv": f"prompt\tname\n{SECRET}\t{SECRET}\n",
    ".json": json.dumps({"image": "hero.png", "tile_size": [8, 8], "columns": 2, "rows": 2, "animations": {SECRET: 1}}),
    ".png": "",
}


def picture(seed: int, side: int = 16) -> bytes:
    image = np.random.default_rng(seed).integers(0, 255, (side, side, 4), np.uint8)
    image[..., 3] = 255
    return encode_png(image)


@pytest.fixture
def game(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A game with two pictures to learn from; the files that links lead to lie beside it."""
    root = tmp_path / "game"
    make_game(root)
    (root / "art").mkdir()
    (root / "art/hero.png").write_bytes(picture(1))
    (root / "art/orc.png").write_bytes(picture(2))
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/secret.png").write_bytes(picture(3))
    os.mkfifo(tmp_path / "outside/pipe")
    monkeypatch.chdir(root)
    monkeypatch.delenv("CLAUDE_PROJECT_DIR", raising=False)
    return root


@pytest.fixture
def studio(game: Path) -> Iterator[Studio]:
    with open_studio(game) as studio:
        yield studio


def put(place: Path, kind: str) -> None:
    """Puts a thing of this kind into the place of a file."""
    outside = place.parents[-1]
    for parent in place.parents:
        if (parent / "outside").is_dir():
            outside = parent / "outside"
            break
    target = outside / f"secret{place.suffix}"
    if not target.exists():
        target.write_text(CONTENTS[place.suffix])
    place.unlink(missing_ok=True)
    match kind:
        case "link":
            place.symlink_to(target)
        case "pipe":
            os.mkfifo(place)
        case "link to a pipe":
            place.symlink_to(outside / "pipe")
        case "device":
            place.symlink_to("/dev/zero")
        case "folder":
            place.mkdir()
        case _:
            place.symlink_to(outside / "nothing")


def ends(work: Callable[[], object]) -> str:
    """The error's message, or an empty text; anything but a sentence for the user fails."""
    error = soon(work)
    assert error is None or isinstance(error, UserError), repr(error)
    return str(error or "")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", CAPTIONS)
def test_a_caption_is_never_read_through_a_link_or_from_a_pipe(game: Path, name: str, kind: str) -> None:
    put(game / "art" / name, kind)
    read: list[Dataset] = []
    said = ends(lambda: read.append(read_dataset(game / "art")))
    learned = [example.caption for dataset in read for example in dataset.examples]
    assert SECRET not in said + str(learned) + str([dataset.refused for dataset in read])
    assert said or "orc" in learned  # one bad file keeps the others


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", LAYOUTS)
def test_a_layout_is_never_read_through_a_link_or_from_a_pipe(studio: Studio, game: Path, name: str, kind: str) -> None:
    put(game / "art" / name, kind)
    read: list[Dataset] = []
    ends(lambda: read.append(read_dataset(game / "art")))
    assert [example.source for example in read[0].examples] == ["hero.png", "orc.png"]  # whole: no layout cut it
    said = ends(lambda: slice_sheet(studio, SliceRequest(picture="art/hero.png", into="animation")))
    assert SECRET not in said
    named = ends(lambda: slice_sheet(studio, SliceRequest(picture="art/hero.png", layout=f"art/{name}")))
    assert kind == "link" or named  # the user may name a layout anywhere, but not a pipe


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", TABLES)
@pytest.mark.parametrize("workflow", ["item_set", "batch"])
def test_a_table_is_never_read_through_a_link_or_from_a_pipe(
    studio: Studio, game: Path, workflow: str, name: str, kind: str
) -> None:
    put(game / name, kind)
    said = ends(lambda: run(studio, workflow, {"items" if workflow == "item_set" else "subjects": name}, no_progress))
    assert said
    assert SECRET not in said


@pytest.mark.parametrize("kind", KINDS)
def test_a_picture_of_a_dataset_is_never_read_through_a_link_or_from_a_pipe(game: Path, kind: str) -> None:
    put(game / "art/more.png", kind)
    read: list[Dataset] = []
    assert not ends(lambda: read.append(read_dataset(game / "art")))
    assert [example.source for example in read[0].examples] == ["hero.png", "orc.png"]


@pytest.mark.parametrize("folder", [".", "art"])
def test_folders_of_a_dataset_that_are_links_are_not_entered(game: Path, folder: str) -> None:
    (game / folder / "linked").symlink_to(game.parent / "outside")
    (game / folder / "again").symlink_to(game)  # a circle
    read: list[Dataset] = []
    assert not ends(lambda: read.append(read_dataset(game / "art")))
    assert [example.source for example in read[0].examples] == ["hero.png", "orc.png"]


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "link"])
def test_a_sketch_or_a_mask_that_is_not_a_file_hangs_nothing(studio: Studio, game: Path, kind: str) -> None:
    from server.features.edits import edit_sprite

    put(game / "mask.png", kind)
    sketched = SpriteRequest(prompt="imp", size=16, sketch="mask.png")
    assert ends(lambda: generate_sprites(studio, sketched, no_progress))
    masked = EditRequest(asset_id="0123456789ab", prompt="imp", place="mask.png")
    assert ends(lambda: edit_sprite(studio, masked, no_progress))
