"""fix_pixel_art and one palette over a folder, as a user meets them."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastmcp import Client
from fastmcp.exceptions import ToolError
from PIL import Image, ImageCms
from PIL.PngImagePlugin import PngInfo

from pipelines.pixels.palette import Palette
from pipelines.pixels.palette_files import read_palette
from pipelines.pixels.png import encode_png, read_frames, read_picture, read_recipe
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


def frames(count: int = 4) -> list[np.ndarray]:
    """A block that moves over a background of its own colours."""
    still = blocks()
    moved = [still.copy() for _ in range(count)]
    for index, frame in enumerate(moved):
        frame[4:10, 3 + 3 * index : 9 + 3 * index] = (250, 20, 20, 255)
        frame[:, :2] = 0
    return moved


def animation(pictures: list[np.ndarray], form: str, factor: int, milliseconds: int = 120) -> bytes:
    large = [Image.fromarray(picture.repeat(factor, 0).repeat(factor, 1)) for picture in pictures]
    file = io.BytesIO()
    # clear pixels replace drawn ones: GIF's disposal 2 clears the canvas, APNG's blend 0 overwrites it
    how = {"disposal": 2} if form == "GIF" else {"disposal": 0, "blend": 0}
    large[0].save(file, form, save_all=True, append_images=large[1:], duration=milliseconds, loop=0, **how)
    return file.getvalue()


@pytest.mark.parametrize(("form", "ending"), [("GIF", "gif"), ("PNG", "png")])
async def test_an_animation_is_fixed_frame_by_frame(game: Path, settings: Settings, form: str, ending: str) -> None:
    (game / f"walk.{ending}").write_bytes(animation(frames(), form, 7))
    said = await ask(game, settings, picture=f"walk.{ending}")
    assert (said["frame_count"], said["pitch"], said["passed"]) == (4, 7.0, True)
    moving = next(path for path in said["paths"] if Path(path).name == f"animation.{ending}")
    back = read_frames(moving)
    assert [time for _, time in back] == [120] * 4
    for (picture, _), truth in zip(back, frames(), strict=True):
        np.testing.assert_array_equal(picture, truth)
    sheet = read_picture(said["paths"][0])
    np.testing.assert_array_equal(sheet, np.concatenate(frames(), axis=1))


@pytest.mark.parametrize("form", ["GIF", "PNG"])
async def test_a_fixed_animation_is_deployed_as_its_sheet(game: Path, settings: Settings, form: str) -> None:
    (game / f"walk.{form.lower()}").write_bytes(animation(frames(), form, 7))
    async with Client(create_server(settings, FakeBackend())) as client:
        fixed = await client.call_tool("fix_pixel_art", {"picture": f"walk.{form.lower()}"})
        assert fixed.structured_content is not None
        wanted = {"asset_id": fixed.structured_content["asset_id"], "path": "walk.png", "verify": False}
        await client.call_tool("deploy_asset", wanted)
    written = sorted(path.name for path in (game / "assets").iterdir() if path.name.startswith("walk"))
    assert written == ["walk.json", "walk.png", "walk.sheet.json"]


async def test_a_finished_animation_keeps_its_file(game: Path, settings: Settings) -> None:
    data = animation(frames(), "GIF", 1)
    (game / "walk.gif").write_bytes(data)
    said = await ask(game, settings, picture="walk.gif")
    moving = next(path for path in said["paths"] if path.endswith(".gif"))
    assert Path(moving).read_bytes() == data


async def test_a_finished_sprite_keeps_its_file_byte_for_byte(game: Path, settings: Settings) -> None:
    file = io.BytesIO()
    text = PngInfo()
    text.add_text("Author", "somebody")
    Image.fromarray(blocks()).save(file, "PNG", pnginfo=text)
    (game / "done.png").write_bytes(file.getvalue())
    said = await ask(game, settings, picture="done.png")
    assert Path(said["paths"][0]).read_bytes() == file.getvalue()
    assert said["passed"]


async def test_sixteen_bits_and_color_profiles_are_reported(game: Path, settings: Settings) -> None:
    ramp = np.repeat(np.repeat(np.arange(256, dtype=np.uint16).reshape(16, 16) * 257, 8, 0), 8, 1)
    Image.fromarray(ramp).save(game / "deep.png")
    said = await ask(game, settings, picture="deep.png")
    assert any("16 bits" in warning for warning in said["warnings"])
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("XYZ")).tobytes()
    Image.fromarray(blocks().repeat(8, 0).repeat(8, 1)).save(game / "odd.png", icc_profile=lab)
    said = await ask(game, settings, picture="odd.png")
    assert said["width"] == 24
    assert any("cannot be used for RGB" in warning for warning in said["warnings"])
    Image.fromarray(blocks()).save(game / "own.png", icc_profile=wide_profile())
    said = await ask(game, settings, picture="own.png")
    assert any("kept as it is, with its colour profile" in warning for warning in said["warnings"])
    wide = wide_profile()
    Image.fromarray(blocks().repeat(8, 0).repeat(8, 1)).save(game / "wide.png", icc_profile=wide)
    said = await ask(game, settings, picture="wide.png")
    assert any("colour profile" in warning for warning in said["warnings"])


def wide_profile() -> bytes:
    """sRGB with red and green exchanged, under another name: a profile that changes every colour."""
    data = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    tags = {bytes(data[132 + 12 * i : 136 + 12 * i]): 132 + 12 * i for i in range(int.from_bytes(data[128:132], "big"))}
    red, green = tags[b"rXYZ"], tags[b"gXYZ"]
    data[red + 4 : red + 12], data[green + 4 : green + 12] = data[green + 4 : green + 12], data[red + 4 : red + 12]
    at = int.from_bytes(data[tags[b"desc"] + 4 : tags[b"desc"] + 8], "big")
    size = int.from_bytes(data[tags[b"desc"] + 8 : tags[b"desc"] + 12], "big")
    text = bytes(data[at : at + size])
    data[at : at + size] = text.replace("sRGB".encode("utf-16-be"), "wide".encode("utf-16-be")).replace(
        b"sRGB", b"wide"
    )
    return bytes(data)


def test_the_command_writes_the_animation_and_its_sheet(game: Path) -> None:
    (game / "walk.gif").write_bytes(animation(frames(), "GIF", 6))
    run(["fix", "walk.gif", "--out", "out/small.gif"])
    assert len(read_frames(game / "out" / "small.gif")) == 4
    assert read_picture(game / "out" / "small_sheet.png").shape == (20, 96, 4)


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
    palette = Palette.from_hex(("112233", "ffeedd", "aa3344"))
    assert len(palettes.apply(art, palette, write=True).changes) == 2
    again = palettes.apply(art, palette, write=True)
    assert (len(again.changes), again.unchanged, len(again.skipped)) == (0, 2, 1)


def test_a_folder_without_pictures_says_so(game: Path) -> None:
    for folder in (game / "nowhere", game / "assets"):
        with pytest.raises(ServerError, match="assets/"):
            palettes.pictures(folder)
