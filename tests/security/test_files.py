"""What a request, a folder or a game names is read only where it is a regular file of a sensible size."""

from __future__ import annotations

import os
import shutil
import socket
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from loras.dataset import Dataset, read_dataset
from pipelines.errors import FileError, ImageError, PaletteError, TextError, UserError
from pipelines.files import read_bytes
from pipelines.pixels.palette_files import read_palette
from pipelines.pixels.png import open_picture, read_frames, read_picture, read_recipe
from pipelines.text_files import read_text
from server.features.watch import Watch
from server.project.style import read_style
from server.studio import Studio
from workflows.load import read as read_workflow

POSTSCRIPT = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 32 32\n%%EndComments\n{ } loop\n%%EOF\n"


def soon(work: Callable[[], object]) -> Exception | None:
    """The error of `work`, which must end within ten seconds: a thread that hangs fails the test."""
    raised: list[Exception] = []

    def run() -> None:
        try:
            work()
        except Exception as error:
            raised.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(10)
    assert not thread.is_alive(), "it hangs"
    return raised[0] if raised else None


def test_postscript_under_a_pictures_name_starts_no_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started = tmp_path / "started"
    fake = tmp_path / "bin" / "gs"
    fake.parent.mkdir()
    fake.write_text(f"#!/bin/sh\ntouch {started}\nsleep 60\n")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{fake.parent}:{os.environ['PATH']}")
    assert shutil.which("gs") == str(fake)
    picture = tmp_path / "hero.png"
    picture.write_bytes(POSTSCRIPT)
    for source in (picture, POSTSCRIPT):
        error = soon(lambda source=source: read_picture(source))
        assert isinstance(error, ImageError), error
        assert "Use PNG, JPEG, GIF, WebP, BMP or Aseprite" in str(error)
    assert isinstance(soon(lambda: read_recipe(POSTSCRIPT)), ImageError)
    assert not started.exists()


def test_only_the_one_opener_opens_pictures() -> None:
    root = Path(__file__).parents[2]
    opened = [
        f"{path.relative_to(root)}:{number}"
        for package in ("server", "pipelines", "loras", "workflows")
        for path in (root / package).rglob("*.py")
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if "Image.open(" in line
    ]
    assert len(opened) == 1, opened
    assert opened[0].startswith("pipelines/pixels/png.py")


@pytest.mark.parametrize("form", ["PNG", "JPEG", "GIF", "WEBP", "BMP", "TGA", "TIFF"])
def test_the_formats_of_artists_are_read(form: str, tmp_path: Path) -> None:
    path = tmp_path / f"picture.{form.lower()}"
    Image.fromarray(np.full((8, 16, 3), 200, np.uint8)).save(path, form)
    assert read_picture(path).shape == (8, 16, 4)


def test_an_animation_that_would_fill_the_memory_is_refused_before_it_is_decoded(tmp_path: Path) -> None:
    path = tmp_path / "bomb.gif"
    frames = [Image.new("P", (4000, 4000), n) for n in range(5)]
    frames[0].save(path, "GIF", save_all=True, append_images=frames[1:])
    with pytest.raises(ImageError, match=r"has 5 frames of 4000x4000.*Scale it down"):
        read_frames(path)
    assert read_picture(path).shape == (4000, 4000, 4)


PIPES: dict[str, Callable[[Path], object]] = {
    "bytes": lambda path: read_bytes(path, 100),
    "text": read_text,
    "a picture": read_picture,
    "a picture that is opened": lambda path: open_picture(path).__enter__(),
    "a recipe": read_recipe,
    "a palette": lambda path: read_palette(path.rename(path.with_suffix(".hex"))),
    "a style": read_style,
    "a workflow": lambda path: read_workflow(str(path)),
    "a dataset": read_dataset,
}


@pytest.mark.parametrize("kind", PIPES)
def test_a_named_pipe_never_hangs_a_reader(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "art" / "pipe.png"
    path.parent.mkdir()
    os.mkfifo(path)
    error = soon(lambda: PIPES[kind](path))
    assert isinstance(error, UserError), error


def test_a_folder_with_pipes_and_sockets_in_it_is_learned_from_without_them(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    os.mkfifo(tmp_path / "metadata.jsonl")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "socket.png"))
        Image.fromarray(np.random.default_rng(0).integers(0, 255, (16, 16, 3), np.uint8)).save(tmp_path / "hero.png")
        Image.fromarray(np.random.default_rng(1).integers(0, 255, (16, 16, 3), np.uint8)).save(tmp_path / "orc.png")
        os.mkfifo(tmp_path / "orc.txt")
        found: list[Dataset] = []
        assert soon(lambda: found.append(read_dataset(tmp_path))) is None
    (dataset,) = found
    assert [example.source for example in dataset.examples] == ["hero.png"]
    assert {name for name, _ in dataset.refused} == {"pipe.png", "socket.png", "orc.png"}


def test_the_watch_continues_after_a_pipe_and_an_endless_file(studio: Studio, game: Path) -> None:
    lines: list[str] = []
    watch = Watch(studio, studio.require_project(), lines.append)
    os.mkfifo(game / "pipe.sprite.json")
    (game / "deep.sprite.json").write_text("[" * 100_000)
    (game / "good.sprite.json").write_text('{"prompt": "red dragon", "size": 16}')
    with (game / "huge.sprite.json").open("wb") as file:
        file.truncate(9 << 20)
    for name in ("pipe", "deep", "huge", "good"):
        assert soon(lambda name=name: watch.handle(game / f"{name}.sprite.json")) is None
    assert "is a pipe, socket or device" in lines[0]
    assert "larger than 8 MiB" in lines[2]
    assert "written assets/sprites/good.png" in lines[3]
    assert "Error" not in "".join(lines)


def test_a_file_that_is_too_large_is_refused_before_it_is_read(tmp_path: Path) -> None:
    for name, reader, error in (
        ("palette.hex", read_palette, PaletteError),
        ("style.toml", read_text, TextError),
        ("hero.png", read_picture, ImageError),
    ):
        with (tmp_path / name).open("wb") as file:
            file.truncate(1 << 40)
        with pytest.raises(error, match="is larger than"):
            reader(tmp_path / name)


def test_an_endless_device_is_not_read() -> None:
    with pytest.raises(FileError, match="a pipe, socket or device"):
        read_bytes("/dev/zero", 1 << 20)
