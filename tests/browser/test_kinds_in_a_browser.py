"""The results page shows kits, effects and lit atlases: a window stretched by the pointer, a light that follows it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipelines.records import no_progress
from server.features.animations import generate_animation
from server.features.packing import pack_sheet
from server.features.requests import AnimationRequest, PackRequest, SpriteRequest, UiRequest
from server.features.sprites import generate_sprites
from server.features.ui import generate_ui
from server.gallery.build import write_gallery
from server.settings import Settings
from server.studio import Studio
from tests.browser.browser import Browser, find_chromium
from tests.fakes import FakeBackend

SHOTS = os.environ.get("DGX_PIXELS_SHOTS", "")
"""A folder for screenshots that a person looks at."""


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


def test_nothing_went_wrong_on_the_page(page: Browser) -> None:
    assert [error for error in page.errors if "favicon" not in error] == []
