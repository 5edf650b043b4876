"""One palette over a folder: nothing that cannot be written back whole is touched, and one undo puts all back."""

from __future__ import annotations

import io
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from pipelines.pixels.normal_maps import looks_like_normal_map, named_normal_map
from pipelines.pixels.palette import Palette
from pipelines.pixels.png import encode_png, read_picture, read_recipe
from server.cli.app import main
from server.errors import ServerError
from server.features import palettes
from tests.fakes import fake_picture

PALETTE = Palette.from_hex(("112233", "ffeedd", "aa3344", "33aa66"))


def saved(picture: Image.Image, **options: object) -> bytes:
    file = io.BytesIO()
    picture.save(file, "PNG", **options)  # pyright: ignore[reportArgumentType]
    return file.getvalue()


def bumps() -> np.ndarray:
    """A normal map of round bumps."""
    y, x = np.mgrid[0:32, 0:32]
    slope = np.stack([np.sin(x / 3), np.sin(y / 3), np.full((32, 32), 1.6)], axis=-1)
    unit = slope / np.linalg.norm(slope, axis=-1, keepdims=True)
    return np.rint((unit + 1) * 127.5).astype(np.uint8)


@pytest.fixture
def art(game: Path) -> Path:
    folder = game / "assets" / "art"
    folder.mkdir(parents=True)
    for name in ("bat.png", "UPPER.PNG"):
        (folder / name).write_bytes(encode_png(fake_picture(name, 1, 16, 16), '{"name":"x"}'))
    frames = [Image.fromarray(fake_picture(str(seed), seed, 16, 16)) for seed in range(3)]
    (folder / "walk.png").write_bytes(saved(frames[0], save_all=True, append_images=frames[1:], duration=100))
    (folder / "height.png").write_bytes(saved(Image.fromarray(np.arange(64, dtype=np.uint16).reshape(8, 8) * 1000)))
    (folder / "wall_n.png").write_bytes(encode_png(fake_picture("wall", 1, 16, 16)))
    (folder / "stone.png").write_bytes(saved(Image.fromarray(bumps())))
    file = io.BytesIO()
    Image.fromarray(bumps()).save(file, "JPEG")
    (folder / "photo.png").write_bytes(file.getvalue())
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def test_what_cannot_be_written_back_whole_is_left_out_and_named(art: Path) -> None:
    before = contents(art)
    applied = palettes.apply(art, PALETTE, write=True)
    assert {change.path.name for change in applied.changes} == {"bat.png", "UPPER.PNG"}
    reasons = "\n".join(applied.skipped)
    for says in (
        "walk.png: it is an animation of 3 frames",
        "height.png: it has 16 bits",
        "wall_n.png: it is a normal map",
        "stone.png: it is a normal map",
        "photo.png: it is JPEG",
    ):
        assert says in reasons
    after = contents(art)
    assert {name for name in after if after[name] != before[name]} == {"bat.png", "UPPER.PNG"}
    used = read_picture(art / "UPPER.PNG")
    assert {tuple(map(int, color)) for color in used[used[..., 3] > 0][:, :3]} <= set(PALETTE.colors)


def test_one_undo_puts_the_earlier_bytes_back(art: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = contents(art)
    palettes.apply(art, PALETTE, write=True)
    (art / "UPPER.PNG").write_bytes(b"drawn since")
    restored, left = palettes.undo(art)
    assert restored == 1
    assert "UPPER.PNG was changed since" in left[0]
    assert contents(art)["bat.png"] == before["bat.png"]
    assert contents(art)["UPPER.PNG"] == b"drawn since"
    with pytest.raises(ServerError, match="Nothing to undo"):
        palettes.undo(art)
    assert not list(art.rglob(".*"))


# Dies where the kept bytes of the second palette are about to take their place.
_KILLED = """
import os, sys
from pathlib import Path
from pipelines.pixels.palette import Palette
from server.features import palettes

rename = os.rename

def die(old, new, **options):
    if str(old).endswith(".new"):
        os._exit(9)
    rename(old, new, **options)

os.rename = die
palettes.apply(Path(sys.argv[1]), Palette.from_hex(("000000", "ffffff")), write=True)
"""


def test_an_apply_that_is_killed_while_it_keeps_the_bytes_leaves_the_earlier_undo(art: Path) -> None:
    before = contents(art)
    palettes.apply(art, PALETTE, write=True)
    written = contents(art)
    killed = subprocess.run([sys.executable, "-c", _KILLED, str(art)], check=False)
    assert killed.returncode == 9
    assert contents(art) == written
    assert palettes.undo(art) == (2, ())
    assert contents(art) == before


def test_undo_is_a_command(art: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = contents(art)
    palettes.apply(art, PALETTE, write=True)
    with pytest.raises(SystemExit) as ended:
        main(["palette", "undo", str(art)])
    assert not ended.value.code
    assert "2 put back" in capsys.readouterr().out
    assert contents(art) == before


def test_texts_and_hidden_colors_stay(art: Path) -> None:
    picture = fake_picture("bat", 3, 16, 16)
    picture[:4] = (200, 100, 50, 0)
    text = PngInfo()
    text.add_text("Author", "somebody", zip=True)
    text.add_itxt("dgx-pixels", '{"name":"bat"}')
    (art / "bat.png").write_bytes(saved(Image.fromarray(picture), pnginfo=text, dpi=(300, 300)))
    palettes.apply(art, PALETTE, write=True)
    data = (art / "bat.png").read_bytes()
    assert read_recipe(data) == '{"name":"bat"}'
    with Image.open(io.BytesIO(data)) as back:
        back.load()
        assert back.info["Author"] == "somebody"
        assert round(back.info["dpi"][0]) == 300
        np.testing.assert_array_equal(np.array(back.convert("RGBA"))[:4], picture[:4])


@pytest.mark.parametrize(
    ("stem", "is_one"),
    [
        ("wall_n", True),
        ("Wall-Normal", True),
        ("wallNormal", True),
        ("brick_nrm", True),
        ("lion", False),
        ("n", True),
        ("norman", False),
    ],
)
def test_normal_maps_are_known_by_name(stem: str, is_one: bool) -> None:
    assert named_normal_map(stem) is is_one


def test_normal_maps_are_known_by_look_and_sprites_are_not() -> None:
    opaque = np.full((32, 32, 4), 255, np.uint8)
    opaque[..., :3] = bumps()
    assert looks_like_normal_map(opaque)
    for seed in range(20):
        assert not looks_like_normal_map(fake_picture("sprite", seed, 32, 32))
    blue = opaque.copy()
    blue[..., :3] = (128, 128, 255)
    assert not looks_like_normal_map(blue)


def test_two_that_write_onto_one_folder_together_leave_whole_files_and_one_way_back(art: Path) -> None:
    """Each keeps what the other wrote, or the originals: never half of a list."""
    others = [Palette.from_hex(words) for words in (PALETTE.hex, ("000000", "ffffff"), ("ff0000", "00ff00"))]
    original = contents(art)
    failed: list[BaseException] = []

    def repaint(palette: Palette) -> None:
        try:
            for _ in range(15):
                palettes.apply(art, palette, write=True)
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=repaint, args=(palette,)) for palette in others]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed
    changed = [name for name, data in contents(art).items() if data != original[name]]
    count, left = palettes.undo(art)
    assert not left
    assert count <= len(changed)
    for name in contents(art):
        assert read_picture(art / name).shape[2] == 4
