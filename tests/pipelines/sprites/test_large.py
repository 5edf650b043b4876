"""Large sprites, portraits, icons and backgrounds on a model that paints; the embedded model says which one can."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from pipelines.engine.backend import OnStep
from pipelines.engine.engine import Engine
from pipelines.errors import InvalidRequest
from pipelines.models import catalog
from pipelines.models.catalog import Model
from pipelines.models.presets import SDXL_PRESETS
from pipelines.records import Drawing, DrawRequest, Pixels, Recipe
from pipelines.sdxl.diffusion import DiffusersBackend
from pipelines.sprites.draw import draw_sprites, plan_pass
from pipelines.sprites.framing import background_of, framed_prompt
from tests.fakes import FakeBackend
from tests.random_sdxl import SIZES, build

SDXL = Model("sdxl", "SDXL", "x", Path(), presets=SDXL_PRESETS)
SCENE = Recipe("sprite", "snowy mountains at dusk", 320, 180, 5, model="sdxl", colors=32)


class GridBackend(FakeBackend):
    """Paints scenes whose pixels are known: each of the sprite's is a flat square of canvas pixels, noise on it."""

    def __init__(self, native: Pixels, pitch: int) -> None:
        super().__init__()
        self.native, self.pitch = native, pitch

    def draw(self, request: DrawRequest, on_step: OnStep) -> Drawing:
        self.requests.append(request)
        canvas = np.full((request.height, request.width, 4), 255, np.uint8)
        large = self.native.repeat(self.pitch, 0).repeat(self.pitch, 1)
        top, left = (request.height - large.shape[0]) // 2, (request.width - large.shape[1]) // 2
        canvas[top : top + large.shape[0], left : left + large.shape[1]] = large
        noise = np.random.default_rng(1).integers(-3, 4, (*canvas.shape[:2], 3))
        canvas[..., :3] = (canvas[..., :3].astype(int) + noise).clip(0, 255)
        return Drawing((canvas,), request.model, "fake", 1, 1.0, 0.0, "fake")


def blocks(width: int, height: int) -> Pixels:
    """A scene of few colours in which neighbouring pixels often differ."""
    rng = np.random.default_rng(3)
    colors = rng.integers(0, 256, (12, 3), dtype=np.uint8)
    picture = np.full((height, width, 4), 255, np.uint8)
    coarse = rng.integers(0, 12, (-(-height // 3), -(-width // 3)))
    picture[..., :3] = colors[coarse.repeat(3, 0).repeat(3, 1)[:height, :width]]
    return picture


@pytest.fixture
def sdxl(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipelines.sprites.draw.find_model", lambda name: SDXL)


@pytest.mark.parametrize(
    ("size", "canvas", "pitch"),
    [
        ((96, 96), (1024, 1024), 10),
        ((128, 128), (1024, 1024), 8),
        ((256, 256), (1024, 1024), 4),
        ((320, 180), (1344, 768), 4),
        ((640, 360), (1344, 768), 2),
        ((180, 320), (768, 1344), 4),
    ],
)
def test_a_large_sprite_has_a_whole_pitch_in_the_nearest_bucket(
    size: tuple[int, int], canvas: tuple[int, int], pitch: int
) -> None:
    one = plan_pass(SDXL, *size)
    assert (one.width, one.height) == canvas
    assert one.pitch == pitch


def test_sprites_up_to_64_pixels_are_planned_as_before() -> None:
    p = plan_pass(SDXL, 48, 32)
    assert (p.width, p.height, p.pitch) == (1280, 832, 0)
    p = plan_pass(SDXL, 64, 64, "draft")
    assert (p.width, p.height, p.pitch) == (768, 768, 0)


def test_a_preset_with_a_small_canvas_takes_a_larger_one_where_it_has_to() -> None:
    p = plan_pass(SDXL, 256, 256, "draft")
    assert (p.width, p.pitch) == (768, 3)
    p = plan_pass(SDXL, 640, 360, "draft")
    assert (p.width, p.pitch) == (1344, 2)


def test_what_has_less_than_two_canvas_pixels_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="Draw up to 512 pixels"):
        plan_pass(SDXL, 640, 640)


@pytest.mark.parametrize(("size", "pitch"), [((320, 180), 4), ((640, 360), 2)])
def test_a_background_comes_out_with_the_pixels_that_were_painted(
    sdxl: None, size: tuple[int, int], pitch: int
) -> None:
    native = blocks(*size)
    engine = Engine(GridBackend(native, pitch))
    (sprite,) = draw_sprites(engine, replace(SCENE, width=size[0], height=size[1]))
    engine.close()
    assert sprite.image.shape == native.shape
    assert sprite.report.passed, sprite.report
    assert sprite.recipe.options["ground"] == "opaque"
    off = np.abs(sprite.image[..., :3].astype(int) - native[..., :3]).max(axis=-1)
    assert (off <= 12).mean() > 0.99


def test_a_wide_floor_fills_its_size(sdxl: None) -> None:
    engine = Engine(GridBackend(blocks(48, 32), 26))
    (sprite,) = draw_sprites(engine, Recipe("sprite", "stone floor", 48, 32, 5, model="sdxl"))
    engine.close()
    assert (sprite.image[..., 3] == 255).all()


@pytest.mark.parametrize(
    ("prompt", "size", "background", "part"),
    [
        ("dwarf portrait", 128, "transparent", "head and shoulders"),
        ("sword icon", 96, "transparent", "single object"),
        ("forest background", 200, "opaque", "game background"),
        ("red dragon", 128, "transparent", "full body"),
        ("red dragon", 320, "opaque", "game background"),
        ("stone floor", 128, "opaque", "seamless game texture"),
        ("dwarf portrait", 64, "transparent", "full body"),
    ],
)
def test_the_prompt_is_framed_as_it_asks(prompt: str, size: int, background: str, part: str) -> None:
    recipe = Recipe("sprite", prompt, size, size, 1, model="sdxl")
    assert background_of(recipe) == background
    assert part in framed_prompt(recipe)
    assert prompt in framed_prompt(recipe)


def test_a_background_that_is_asked_for_wins_over_the_framing() -> None:
    recipe = Recipe("sprite", "dwarf portrait", 128, 128, 1, options={"ground": "opaque"})
    assert "fills the frame" in framed_prompt(recipe)


@pytest.mark.parametrize("size", [97, 128, 256])
def test_the_embedded_model_refuses_with_the_name_of_one_that_can(size: int) -> None:
    engine = Engine(FakeBackend())
    with pytest.raises(
        InvalidRequest, match=rf"8 to 96 pixels, not {size}, with 'embedded'\. model='sdxl' draws 8 to 256"
    ):
        draw_sprites(engine, Recipe("sprite", "dwarf", size, size, 1))
    with pytest.raises(InvalidRequest, match="Draw larger art in parts"):
        draw_sprites(engine, Recipe("sprite", "dwarf", 2000, 32, 1))
    engine.close()


def test_a_painting_model_refuses_beyond_its_own(sdxl: None) -> None:
    engine = Engine(FakeBackend())
    with pytest.raises(InvalidRequest, match="8 to 640 pixels, not 641"):
        draw_sprites(engine, Recipe("sprite", "mountains", 641, 360, 1, model="sdxl"))
    with pytest.raises(InvalidRequest, match="8 to 256 pixels, not 300"):
        draw_sprites(engine, Recipe("sprite", "dwarf", 300, 90, 1, model="sdxl", options={"ground": "transparent"}))
    engine.close()


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> str:
    from diffusers.pipelines.stable_diffusion_xl.pipeline_stable_diffusion_xl import StableDiffusionXLPipeline

    folder = tmp_path_factory.mktemp("models") / "tiny"
    parts = build(SIZES["tiny"], torch.device("cpu"), torch.float32)
    StableDiffusionXLPipeline(**parts, add_watermarker=False).save_pretrained(folder, safe_serialization=True)
    return str(folder)


@pytest.fixture
def wide_canvas(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tiny model on SDXL's smaller canvases: its layers take any."""
    made = catalog.folder_model

    def folder_model(folder: Path) -> Model:
        return replace(made(folder), canvases=(256, 512), presets=())

    monkeypatch.setattr(catalog, "folder_model", folder_model)


@pytest.fixture
def engine() -> Iterator[Engine]:
    engine = Engine(DiffusersBackend("cpu"))
    yield engine
    engine.close()


@pytest.mark.parametrize(
    ("size", "prompt"),
    [((8, 8), "imp"), ((128, 128), "dwarf portrait"), pytest.param((240, 136), "a vista", marks=pytest.mark.slow)],
)
def test_a_tiny_sdxl_draws_every_size_through_the_gates(
    engine: Engine, tiny: str, wide_canvas: None, size: tuple[int, int], prompt: str
) -> None:
    recipe = Recipe("sprite", prompt, *size, seed=3, model=tiny, steps=1, guidance=1.0)
    (sprite,) = draw_sprites(engine, recipe)
    assert sprite.image.shape == (size[1], size[0], 4)
    assert sprite.report.passed, sprite.report
    (again,) = draw_sprites(engine, Recipe.from_json(sprite.recipe.to_json()))
    assert np.array_equal(again.image, sprite.image)
