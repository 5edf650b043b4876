"""The results page shows kits, effects, isometric maps and lit atlases: a window stretched by the pointer, a light that
follows it, effects that play."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipelines.records import no_progress
from server.features.animations import generate_animation
from server.features.packing import pack_sheet
from server.features.requests import AnimationRequest, PackRequest, SpriteRequest, TilesetRequest, UiRequest
from server.features.sprites import generate_sprites
from server.features.tilesets import generate_tileset
from server.features.ui import generate_ui
from server.gallery.build import write_gallery
from server.settings import Settings
from server.studio import Studio
from tests.browser.browser import Browser, find_chromium
from tests.fakes import FakeBackend

SHOTS = os.environ.get("DGX_PIXELS_SHOTS", "")
"""A folder for screenshots that a person looks at."""


MADE: dict[str, str] = {}
"""Asset ids of what the page shows, by kind."""


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """A browser at the results page of a game with a kit, effects and a packed atlas."""
    root = tmp_path_factory.mktemp("game")
    (root / "assets").mkdir()
    (root / "Cargo.toml").write_text('[package]\nname = "kinds"\nversion = "0.1.0"\n\n[dependencies]\nbevy = "0.20"\n')
    studio = Studio(Settings(project=root, data_dir=root / "data"), FakeBackend())
    sprite = generate_sprites(studio, SpriteRequest(prompt="imp", seed=1), no_progress).sprites[0].asset
    fx = generate_animation(studio, AnimationRequest(effects=("fireball",), seed=1), no_progress).asset
    pack_sheet(studio, PackRequest(asset_ids=(sprite.id, fx.id), layers=("normal",)), no_progress)
    wanted = {"upper": "grass", "lower": "water", "layout": "isometric", "tile_size": 16, "seed": 1}
    block = generate_tileset(studio, TilesetRequest.model_validate(wanted), no_progress)
    several = generate_animation(studio, AnimationRequest(effects=("explosion", "heal"), seed=2), no_progress).asset
    MADE.update(isometric=block.asset.id, effects=several.id)
    generate_ui(studio, UiRequest(prompt="wood", icons=("key",), seed=1), no_progress)
    path = write_gallery(studio.library(studio.require_project(None)), "kinds")
    command = find_chromium()
    assert command, "No Chromium was found. Run make test-gallery as root, or install it (apt-get install chromium)."
    browser = Browser(command, tmp_path_factory.mktemp("profile"))
    browser.open(path.as_uri())
    yield browser
    browser.close()
    studio.close()


def show(page: Browser, name: str) -> None:
    if SHOTS:
        (Path(SHOTS) / f"{name}.png").write_bytes(page.screenshot())


def opened(page: Browser, name: str, button: str) -> None:
    """Opens the card whose name holds `name`, and presses a button of its dialog."""
    page.value(
        f"[...document.querySelectorAll('.card')].find(c => c.innerText.includes('{name}')).click();"
        f"[...document.querySelectorAll('dialog button')].find(b => b.textContent === '{button}').click()"
    )


def move(x: str, y: str, target: str) -> str:
    """A script that moves the pointer to a share of an element's box."""
    return (
        f"(() => {{ const e = {target}, b = e.getBoundingClientRect(); e.dispatchEvent(new PointerEvent('pointermove', "
        f"{{ clientX: b.left + b.width * {x}, clientY: b.top + b.height * {y}, bubbles: true }})); }})()"
    )


def test_a_window_is_as_large_as_the_pointer_says(page: Browser) -> None:
    opened(page, "wood ui", "panel")
    canvas, place = "document.querySelector('[data-piece=panel]')", "document.querySelector('[data-stretch=panel]')"
    page.wait(f"{canvas}.width > 1 && {canvas}.getContext('2d').getImageData(3, 3, 1, 1).data[3] === 255")
    sizes = []
    for share in ("0.4", "0.9"):
        page.value(move(share, share, place))
        sizes.append(page.value(f"{canvas}.width"))
        filled = f"[...{canvas}.getContext('2d').getImageData(4, 4, {canvas}.width - 8, {canvas}.height - 8).data]"
        assert page.value(f"{filled}.every((v, i) => i % 4 < 3 || v === 255)")
    assert sizes[1] > sizes[0] + 20
    show(page, "stretched")
    page.value("document.getElementById('dialog').close()")


def test_a_light_follows_the_pointer(page: Browser) -> None:
    opened(page, "atlas", "light")
    canvas = "document.querySelector('[aria-label=\"under a moving light\"]')"
    page.wait(f"[...{canvas}.getContext('2d').getImageData(0, 0, 40, 40).data].some(v => v > 0)")
    brightness = []
    for share in ("0.05", "0.95"):
        page.value(move(share, share, canvas))
        left = f"[...{canvas}.getContext('2d').getImageData(0, 0, {canvas}.width / 4, {canvas}.height).data]"
        brightness.append(page.value(f"{left}.reduce((sum, v, i) => sum + (i % 4 < 3 ? v : 0), 0)"))
    assert brightness[0] != brightness[1]
    show(page, "lit")
    page.value("document.getElementById('dialog').close()")


def test_an_isometric_set_is_shown_as_its_map_and_then_as_its_atlas(page: Browser) -> None:
    page.value(f"open(data.assets.find(a => a.id === '{MADE['isometric']}'))")
    image = "document.querySelector('dialog .stage img')"
    page.wait(f"{image} && {image}.complete && {image}.naturalWidth > 0")
    # 8 x 8 diamonds of 32 x 16 on blocks 8 deep, enlarged by a whole number
    assert page.value(f"[{image}.naturalWidth, {image}.naturalHeight]") == [256, 136]
    assert page.value(f"{image}.getBoundingClientRect().width % {image}.naturalWidth") == 0
    corner, middle = (
        page.value(
            f"(() => {{ const c = document.createElement('canvas').getContext('2d'); c.drawImage({image}, -{x}, -{y});"
            "return c.getImageData(0, 0, 1, 1).data[3]; })()"
        )
        for x, y in ((2, 2), (128, 64))
    )
    assert (corner, middle) == (0, 255)
    show(page, "isometric")
    page.value("[...document.querySelectorAll('dialog button')].find(b => b.textContent === 'whole picture').click()")
    page.wait(f"{image}.naturalWidth === 128 && {image}.naturalHeight === 96")
    page.value("document.getElementById('dialog').close()")


def test_effects_play_and_a_button_chooses_which(page: Browser) -> None:
    page.value(f"open(data.assets.find(a => a.id === '{MADE['effects']}'))")
    canvas = "document.querySelector('dialog .stage canvas')"
    pixels = f"[...{canvas}.getContext('2d').getImageData(0, 0, {canvas}.width, {canvas}.height).data].join()"
    for name in ("explosion", "heal"):
        page.value(f"[...document.querySelectorAll('dialog button')].find(b => b.textContent === '{name}').click()")
        page.value("window.seen = new Set()")
        # frames come by the page's own clock: wait until four different ones were there
        page.wait(f"{canvas} && seen.add({pixels}).size >= 4")
        show(page, f"effects-{name}")
    page.value("document.getElementById('dialog').close()")
    page.value("delete window.seen")


def test_nothing_went_wrong_on_the_page(page: Browser) -> None:
    assert [error for error in page.errors if "favicon" not in error] == []
