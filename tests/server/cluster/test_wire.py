"""Requests and drawings keep every value on their way between machines."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from pipelines.errors import InvalidRequest
from pipelines.records import Drawing, DrawRequest, LoraWeight, Region
from pipelines.tiles.joint import CornerTies
from server.cluster.wire import pack_drawing, pack_request, unpack_drawing, unpack_request
from tests.fakes import fake_picture


def full_request() -> DrawRequest:
    """Sets every field to a value that is not its default."""
    rng = np.random.default_rng(0)
    return DrawRequest(
        model="embedded",
        prompts=("red dragon", "blue ümlaut"),
        seeds=(1, 2**31),
        width=32,
        height=24,
        negative="blurry",
        native=16,
        preset="fast",
        steps=7,
        guidance=2.5,
        loras=(LoraWeight("mygame", 0.75),),
        init=(fake_picture("a", 1, 32, 24), fake_picture("b", 2, 32, 24)),
        strength=0.4,
        mask=(rng.random((24, 32)) > 0.5, rng.random((24, 32)) > 0.5),
        tile_x=True,
        tile_y=True,
        region=Region("sand", rng.random((2, 24, 32), np.float32)),
        references=(fake_picture("c", 3, 20, 30),),
        lines=True,
        couple=CornerTies(16, 4),
        bare_prompts=("", "blue"),
    )


def same(a: object, b: object) -> bool:
    """Compares records with arrays in them."""
    if isinstance(a, np.ndarray):
        return isinstance(b, np.ndarray) and a.dtype == b.dtype and np.array_equal(a, b)
    if isinstance(a, tuple):
        return isinstance(b, tuple) and len(a) == len(b) and all(map(same, a, b))
    if dataclasses.is_dataclass(a):
        return type(a) is type(b) and all(same(getattr(a, f.name), getattr(b, f.name)) for f in dataclasses.fields(a))
    return a == b


def test_a_request_comes_back_as_it_was() -> None:
    request = full_request()
    assert all(
        not same(getattr(request, f.name), f.default) for f in dataclasses.fields(request) if f.name != "prompts"
    )
    assert same(unpack_request(pack_request(request)), request)


def test_a_plain_request_comes_back_as_it_was() -> None:
    request = DrawRequest("embedded", ("red dragon",), (1,), 32, 32)
    assert same(unpack_request(pack_request(request)), request)


def test_a_drawing_comes_back_as_it_was() -> None:
    drawing = Drawing((fake_picture("a", 1, 32, 32),), "embedded", "2", 4, 1.0, 0.5, "cpu", ("flibber",), "fast", "fp8")
    assert same(unpack_drawing(pack_drawing(drawing)), drawing)


def test_pictures_tied_by_code_are_refused() -> None:
    request = dataclasses.replace(full_request(), couple=lambda latents, index, total: latents)
    with pytest.raises(InvalidRequest, match="one process"):
        pack_request(request)
