"""Tilesets on a model that paints large canvases through an autoencoder: a tiny SDXL with random weights."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import numpy as np
import pytest
import torch

from pipelines.engine.engine import Engine
from pipelines.records import DrawRequest, Recipe
from pipelines.sdxl.diffusion import DiffusersBackend
from pipelines.tiles.joint import painters_scale
from pipelines.tiles.seams import texture_seam
from pipelines.tiles.tileset import draw_tileset
from tests.random_sdxl import SIZES, build


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    from diffusers.pipelines.stable_diffusion_xl.pipeline_stable_diffusion_xl import StableDiffusionXLPipeline

    folder = tmp_path_factory.mktemp("models") / "tiny"
    parts = build(SIZES["tiny"], torch.device("cpu"), torch.float32)
    StableDiffusionXLPipeline(**parts, add_watermarker=False).save_pretrained(folder, safe_serialization=True)
    return str(folder)


@pytest.fixture(scope="module")
def backend() -> DiffusersBackend:
    return DiffusersBackend("cpu")


@pytest.fixture
def engine(backend: DiffusersBackend, monkeypatch: pytest.MonkeyPatch) -> Iterator[Engine]:
    monkeypatch.setattr("pipelines.tiles.textures.SDXL_CANVAS", 128)
    monkeypatch.setattr("pipelines.tiles.joint.SDXL_CANVAS", 128)
    made = Engine(backend)
    yield made
    made.close()


def recipe(folder: str, layout: str, size: int = 16, **options: object) -> Recipe:
    lower = "" if layout in ("seamless", "variations") else "blue dragon"
    options |= {"layout": layout, "upper": "stone golem", "lower": lower}
    return Recipe("tileset", "x", size, size, 3, model=folder, steps=2, candidates=2, options=options)


@pytest.mark.parametrize("x", [True, False])
def test_the_canvas_wraps_in_the_axes_asked_for(backend: DiffusersBackend, folder: str, x: bool) -> None:
    request = DrawRequest(folder, ("golem",) * 4, (1, 2, 3, 4), 64, 64, steps=2, guidance=1.0, tile_x=x, tile_y=True)
    seams = np.array([texture_seam(image) for image in backend.draw(request, lambda done, total: None).images])
    across, down = seams.mean(axis=0)
    # random weights: their pictures are noise, smooth over eight pixels
    assert down < 1.1
    assert across < 1.1 if x else across > 1.15


@pytest.mark.parametrize("size", range(8, 72, 8))
def test_the_canvas_of_joint_diffusion_suits_latent_cells_and_levels(size: int) -> None:
    scale = painters_scale(size)
    assert (size + 2 * (size // 4)) * scale % 32 == 0
    assert size * scale % 32 == 0, "tile and margins are whole cells"
    assert 450 <= 1.5 * size * scale <= 700


@pytest.mark.parametrize("layout", ["wang16", "blob47", "edge16", "platformer", "seamless", "variations"])
def test_a_set_of_a_painting_model_holds_its_gates(engine: Engine, folder: str, layout: str) -> None:
    made = draw_tileset(engine, recipe(folder, layout))
    assert made.report.passed, made.report


def test_the_tiles_of_joint_diffusion_meet(engine: Engine, folder: str) -> None:
    """Noise has no ground to be calm on; that what is tied stays one strip through the decoder is held."""
    made = draw_tileset(engine, recipe(folder, "wang16", method="joint"))
    assert made.report.gates["one_strip_per_side"]
    assert made.report.gates["in_palette"]
    assert made.report.gates["size_exact"]


@pytest.mark.slow
def test_the_model_is_what_it_was_after_a_tileset_and_after_a_cancelled_one(folder: str) -> None:
    with closing(Engine(DiffusersBackend("cpu"))) as engine:  # one that has drawn no tiles yet
        request = DrawRequest(folder, ("golem",), (1,), 64, 64, steps=2, guidance=1.0)
        before = engine.draw(request).images[0]
        draw_tileset(engine, recipe(folder, "seamless"))
        assert np.array_equal(engine.draw(request).images[0], before)

        def cancel(done: int, total: int, message: str) -> None:
            if done:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            draw_tileset(engine, recipe(folder, "seamless"), cancel)
        assert np.array_equal(engine.draw(request).images[0], before)
