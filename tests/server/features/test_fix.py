"""fix_pixel_art and one palette over a folder, as a user meets them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastmcp import Client
from fastmcp.exceptions import ToolError

from pipelines.pixels.palette import Palette
from pipelines.pixels.palette_files import read_palette
from pipelines.pixels.png import encode_png, read_picture, read_recipe
from server.cli.app import main
from server.errors import ServerError
from server.features import palettes
from server.protocol.app import create_server
from server.settings import Settings
from tests.fakes import FakeBackend, fake_picture

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def ask(game: Path, settings: Settings, **arguments: Any) -> dict[str, Any]:
    async with Client(create_server(settings, FakeBackend())) as client:
        answer = await client.call_tool("fix_pixel_art", arguments)
    assert answer.structured_content is not None
    return answer.structured_content


def blocks() -> np.ndarray:
    rng = np.random.default_rng(2)
    picture = np.full((20, 24, 4), 255, np.uint8)
    picture[..., :3] = rng.integers(0, 256, (5, 3), dtype=np.uint8)[rng.integers(0, 5, (20, 24))]
    return picture


async def test_an_enlarged_picture_comes_back_as_an_asset_of_its_real_size(game: Path, settings: Settings) -> None:
    (game / "big_slime.png").write_bytes(encode_png(blocks().repeat(7, 0).repeat(7, 1)))
    said = await ask(game, settings, picture="big_slime.png")
    assert (said["width"], said["height"], said["pitch"], said["passed"]) == (24, 20, 7.0, True)
    data = Path(said["paths"][0]).read_bytes()
    np.testing.assert_array_equal(read_picture(data), blocks())
    assert '"big slime"' in (read_recipe(data) or "")
    again = await ask(game, settings, picture=said["asset_id"], width=12, height=10)
    assert (again["width"], again["height"]) == (12, 10)


async def test_what_cannot_be_fixed_says_why(game: Path, settings: Settings) -> None:
    (game / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nrubbish")
    for picture, says in (("broken.png", "not a picture"), ("none.png", "no file"), ("0123456789ab", "0123456789ab")):
        with pytest.raises(ToolError, match=says):
            await ask(game, settings, picture=picture)


def run(words: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert not ended.value.code


def folder_of_art(root: Path) -> Path:
    art = root / "assets" / "art"
    (art / ".hidden").mkdir(parents=True)
    for name in ("bat", "rat"):
        (art / f"{name}.png").write_bytes(encode_png(fake_picture(name, 1, 16, 16), f'{{"name":"{name}"}}'))
    (art / ".hidden" / "x.png").write_bytes(b"not looked at")
    (art / "broken.png").write_bytes(b"rubbish")
    return art


def test_one_palette_is_taken_from_a_folder_and_put_onto_it(game: Path, capsys: pytest.CaptureFixture[str]) -> None:
    art = folder_of_art(game)
    before = (art / "bat.png").read_bytes()
    run(["palette", "extract", str(art), "--colors", "3", "--out", "three.gpl"])
    three = read_palette("three.gpl")
    assert len(three) <= 3
    run(["palette", "apply", str(art), "--palette", "three.gpl"])
    assert (art / "bat.png").read_bytes() == before
    assert max(read_picture("palette_preview.png").shape) <= 512
    run(["palette", "apply", str(art), "--palette", "three.gpl", "--write"])
    picture = read_picture(art / "bat.png")
    assert {tuple(map(int, color)) for color in picture[picture[..., 3] > 0][:, :3]} <= set(three.colors)
    assert read_recipe((art / "bat.png").read_bytes()) == '{"name":"bat"}'
    assert "broken.png" in capsys.readouterr().out


def test_a_second_apply_changes_nothing(game: Path) -> None:
    art = folder_of_art(game)
    palette = Palette.from_words(("112233", "ffeedd", "aa3344"))
    assert len(palettes.apply(art, palette, write=True).changes) == 2
    again = palettes.apply(art, palette, write=True)
    assert (len(again.changes), again.unchanged, len(again.skipped)) == (0, 2, 1)


def test_a_folder_without_pictures_says_so(game: Path) -> None:
    for folder in (game / "nowhere", game / "assets"):
        with pytest.raises(ServerError, match="assets/"):
            palettes.pictures(folder)
