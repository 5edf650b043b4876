"""Memory and time of finishing have bounds: large inputs are worked on in parts, or refused with what to change."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from pipelines.engine.engine import Engine
from pipelines.engine.hardware import free_bytes
from pipelines.errors import InvalidRequest, OutOfMemory
from pipelines.models.catalog import embedded_model
from pipelines.pixels.dither import dither
from pipelines.pixels.fix import fix_pictures
from pipelines.pixels.oklab import to_oklab
from pipelines.pixels.palette import Palette, nearest_index
from pipelines.records import DrawRequest
from pipelines.sdxl import diffusion
from pipelines.sdxl.diffusion import DiffusersBackend

COLORS = tuple((r, g, b) for r in range(0, 256, 43) for g in range(0, 256, 43) for b in range(0, 256, 51))[:200]


def test_more_real_pixels_than_can_be_finished_are_refused_immediately() -> None:
    picture = np.full((4096, 4096, 4), 255, np.uint8)
    with pytest.raises(InvalidRequest, match=r"4096x4096 real pixels.*2.1 million is the most. Give a larger pitch"):
        fix_pictures([picture], pitch=1, palette=Palette("p", COLORS))


@pytest.mark.parametrize(
    ("shape", "count", "options", "said"),
    [
        ((2048, 2048, 4), 1, {"pitch": 1.5}, r"1\d+x1\d+ real pixels, 1.\d million; 1.0 .* colours are estimated"),
        ((512, 512, 4), 16, {"pitch": 1}, r"16 frames of 512x512 real pixels, 4.2 million.*fewer frames"),
        ((64, 64, 4), 1, {"width": 4096, "height": 4096}, r"4096x4096 real pixels, 16.8 million.*a smaller size"),
        ((2048, 2048, 4), 1, {"width": 2048, "height": 2048}, r"2048x2048 real pixels, 4.2 million"),
    ],
)
def test_what_would_take_minutes_is_refused_with_what_to_change(
    shape: tuple[int, ...], count: int, options: dict[str, Any], said: str
) -> None:
    picture = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    with pytest.raises(InvalidRequest, match=said):
        fix_pictures([picture] * count, **options)


def test_the_nearest_colour_is_the_same_in_parts_and_by_the_definition() -> None:
    rng = np.random.default_rng(0)
    palette = Palette("p", COLORS)
    picture = rng.integers(0, 256, (600, 600, 4), np.uint8)  # more colours than are compared one by one
    index = nearest_index(picture, palette)
    rows = rng.integers(0, 600, 300)
    lab = to_oklab(picture[rows, rows[::-1], :3]).astype(np.float64)
    distance = np.square(lab[:, None] - palette.lab.astype(np.float64)).sum(-1)
    chosen = distance[np.arange(300), index[rows, rows[::-1]]]
    np.testing.assert_allclose(chosen, distance.min(axis=1), atol=1e-12)
    own = np.array([[(*color, 255) for color in COLORS]], np.uint8)
    assert nearest_index(own, palette)[0].tolist() == list(range(len(COLORS)))


def test_dithering_in_bands_is_dithering_as_a_whole() -> None:
    picture = np.random.default_rng(1).integers(0, 256, (100, 700, 4), np.uint8)
    palette = Palette("p", COLORS)
    whole = dither(picture, palette, 4)
    assert np.array_equal(whole[:8], dither(picture[:8], palette, 4))
    assert np.array_equal(whole[92:], dither(picture[92:], palette, 4))


def drawing(prompts: int, side: int) -> DrawRequest:
    return DrawRequest("tiny", ("imp",) * prompts, tuple(range(prompts)), side, side, steps=1)


def no_step(step: int, steps: int) -> None:
    """Reports nothing."""


def large_model(monkeypatch: pytest.MonkeyPatch, device: str, *, shared: bool, free: int) -> DiffusersBackend:
    """A backend with a tiny model that counts as SDXL, on a machine with the memory given; what it draws is a stub."""
    backend = DiffusersBackend("cpu")
    resident = backend.resident(embedded_model())
    backend.adopt(replace(resident, model=replace(resident.model, id="tiny", native_sizes=(), presets=())))
    backend.device = torch.device(device)
    monkeypatch.setattr(diffusion, "unified_memory", lambda: shared)
    monkeypatch.setattr(diffusion, "free_bytes", lambda device: free)
    picture = np.zeros((32, 32, 4), np.uint8)
    monkeypatch.setattr(diffusion, "draw_pictures", lambda a, b, c, request, *rest: (picture,) * len(request.prompts))
    return backend


@pytest.mark.parametrize(
    ("device", "shared", "refused"), [("cpu", False, True), ("cuda", True, True), ("cuda", False, False)]
)
def test_a_drawing_that_cannot_fit_says_so_before_it_begins_where_the_system_would_end_the_process(
    monkeypatch: pytest.MonkeyPatch, device: str, shared: bool, refused: bool
) -> None:
    backend = large_model(monkeypatch, device, shared=shared, free=4 << 30)
    assert len(backend.draw(drawing(1, 1024), no_step).images) == 1
    if refused:
        with pytest.raises(
            OutOfMemory, match=r"2 pictures of 1024x1024 need about 6\.4 GB of memory, and 4\.3 GB are left"
        ):
            backend.draw(drawing(2, 1024), no_step)
    else:  # a card with memory of its own refuses by itself, and the batch is halved
        assert len(backend.draw(drawing(2, 1024), no_step).images) == 2


def test_a_model_that_cannot_fit_is_not_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    backend = DiffusersBackend("cpu")
    monkeypatch.setattr(diffusion, "free_bytes", lambda device: 1 << 20)
    monkeypatch.setattr(diffusion, "load_model", lambda *_: pytest.fail("it was loaded"))
    with pytest.raises(OutOfMemory, match=r"'embedded' needs 0\.\d GB of memory, and cpu has 0\.0 GB left\. Close"):
        backend.load("embedded")
    engine = Engine(backend)
    engine.preload("embedded")
    with engine.lease("waiting for the preload"):
        pass
    said = json.dumps(engine.status())
    engine.close()
    assert "Close what else uses it" in said


@pytest.mark.parametrize("shared", [True, False])
def test_memory_that_torch_holds_idle_counts_as_free(monkeypatch: pytest.MonkeyPatch, shared: bool) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: SimpleNamespace(is_integrated=shared))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: 3 << 50)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: 1 << 50)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (1 << 30, 2 << 30))
    free = free_bytes("cuda") - (2 << 50)
    assert (free == 1 << 30) if not shared else free > 1 << 24


@pytest.mark.slow
def test_locking_a_picture_with_sixteen_million_colours_takes_less_than_one_and_a_half_gigabytes() -> None:
    program = (
        "import numpy as np\n"
        "from pipelines.pixels.palette import Palette, lock\n"
        "from tests.memory import peak\n"
        "codes = np.arange(4096 * 4096, dtype='<u4').reshape(4096, 4096) | np.uint32(0xFF000000)\n"
        "palette = Palette('p', tuple((i, 255 - i, i // 2) for i in range(256)))\n"
        "lock(codes.view(np.uint8).reshape(4096, 4096, 4), palette)\n"
        "print(peak())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=Path(__file__).parents[2], capture_output=True, text=True, check=True
    )
    assert int(done.stdout) < 1.5e9


@pytest.mark.slow
@pytest.mark.parametrize("pitch", [4, None])
def test_an_animation_of_two_frames_of_noise_with_alpha_takes_less_than_one_and_a_half_gigabytes(
    pitch: float | None,
) -> None:
    program = (
        "import sys, numpy as np\n"
        "from pipelines.errors import InvalidRequest\n"
        "from pipelines.pixels.fix import fix_pictures\n"
        "from tests.memory import peak\n"
        "rng = np.random.default_rng(0)\n"
        "frames = [rng.integers(0, 256, (4096, 4096, 4), np.uint8) for _ in range(2)]\n"
        "try: fix_pictures(frames, pitch=eval(sys.argv[1]))\n"
        "except InvalidRequest as error: assert 'Give a larger pitch' in str(error)\n"
        "print(peak())\n"
    )
    command = [sys.executable, "-c", program, repr(pitch)]
    done = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 1.5e9
