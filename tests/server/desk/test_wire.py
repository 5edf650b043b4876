"""The desk's values as JSON."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from server.desk.desk import Batch, Contest, Home, Piece, Place, Placed, Shown, Training
from server.desk.wire import pack, unpack
from tests.fakes import fake_picture

PIECE = Piece("a1", "sprite", "Katze „Mia“", 16, 16, 7, "embedded", ("ff0000",), ("sprites/cat.png",))


def over(value: object) -> Any:
    """The value after a way over the wire."""
    return unpack(json.loads(json.dumps(pack(value))))


@pytest.mark.parametrize(
    "value",
    [
        PIECE,
        Home(game="g", models=("a", "b"), presets={"a": ("draft", "fast")}, newest=PIECE),
        Placed("written", "x.png", "a1", screenshot=b"\x00\xff"),
        Contest("c", ("A", "B"), ("A", "B"), ("r",), (("x",), ("y",)), ranking=(Place("k", 0.5, 0.1, 0.9, 1, 2),)),
        [Training("t", "moss", "done", 1, 2, (0.5, 0.25), eta_seconds=None)],
        ([PIECE], 41),
        {"@": "a key of one's own", "nested": [{"list": [], "none": None, "yes": True}, ()]},
    ],
)
def test_records_come_back_as_they_went(value: object) -> None:
    assert over(value) == value


def test_pictures_come_back_pixel_for_pixel() -> None:
    picture = fake_picture("golem", 1, 13, 7)
    shown = over(Shown(picture, {"walk": [picture, picture[:, ::-1]]}, {"walk": 8.0}, {"seed": 3}))
    assert (shown.picture == picture).all()
    assert (shown.clips["walk"][1] == picture[:, ::-1]).all()
    assert shown.recipe == {"seed": 3}
    batch = over(Batch((PIECE,), (picture,), ("florp",), 1.5))
    assert batch.unknown_words == ("florp",)
    assert batch.pictures[0].dtype == np.uint8


@pytest.mark.parametrize(
    "line",
    [
        {"@": "Path", "parts": []},
        {"@": "Piece", "id": "a", "surprise": 1},
        {"@": "pixels", "shape": [2, 2, 4], "zlib": "AAAA"},
        {"@": "tuple"},
        {"no": "tag"},
    ],
)
def test_what_no_desk_sent_is_an_error(line: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="desk"):
        unpack(line)


def test_a_value_without_a_form_is_an_error() -> None:
    with pytest.raises(TypeError, match="no form for a set"):
        pack({1, 2})
