"""Effects hold their gates at every size and palette, loop, and repeat byte for byte."""

from __future__ import annotations

import numpy as np
import pytest

from pipelines.effects.drawing import EFFECTS
from pipelines.effects.making import check_effects, make_effects
from pipelines.effects.ramps import RAMPS, ramp_name, ramp_of
from pipelines.errors import InvalidRequest
from pipelines.pixels.named_palettes import named_palette
from pipelines.pixels.oklab import to_oklab
from pipelines.pixels.palette import Palette

PALETTES = ("", "pico-8", "game boy", "endesga 32")


def locked(name: str) -> Palette | None:
    return Palette.from_hex(named_palette(name)) if name else None


@pytest.mark.parametrize("side", [8, 16, 32, 64])
@pytest.mark.parametrize("palette", PALETTES)
def test_every_effect_holds_its_gates(side: int, palette: str) -> None:
    for seed in range(3):
        sheet = make_effects(tuple(EFFECTS), side, seed=seed, palette=locked(palette))
        report = check_effects(sheet, locked(palette))
        # eight pixels cannot show eight different steps of everything, nor can four greens
        needed = {name: held for name, held in report.gates.items() if side >= 16 or name != "moves"}
        assert all(needed.values()), (seed, report.gates, report.scores)


def test_the_same_seed_gives_the_same_bytes_and_another_one_others() -> None:
    one, same, other = (make_effects(("explosion", "heal"), 32, seed=seed).image for seed in (3, 3, 4))
    assert one.tobytes() == same.tobytes()
    assert one.tobytes() != other.tobytes()


def test_looping_effects_come_back_to_their_first_frame_and_others_end_nearly_empty() -> None:
    sheet = make_effects(tuple(EFFECTS), 32, seed=1)
    for name, clip in sheet.clips.items():
        drawn = [int((frame[..., 3] > 0).sum()) for frame in sheet.frames(name)]
        assert clip.loop == EFFECTS[name].loop
        if not clip.loop:
            assert drawn[-1] < max(drawn) / 3


def test_a_fireball_flies_in_four_directions_that_are_turns_of_one_drawing() -> None:
    sheet = make_effects(("fireball",), 32, seed=1, directions=("down", "up", "right", "left"))
    right = sheet.frames("fireball_right")[0]
    assert (sheet.frames("fireball_up")[0] == np.rot90(right)).all()
    assert (sheet.frames("fireball_left")[0] == right[:, ::-1]).all()
    assert (right[:, 16:, 3] > 0).sum() > (right[:, :16, 3] > 0).sum()


@pytest.mark.parametrize("words", ["blue", "an ice bolt", "poison cloud", "golden"])
def test_a_word_of_the_prompt_colours_the_effect(words: str) -> None:
    plain, colored = make_effects(("hit",), 32, seed=1), make_effects(("hit",), 32, seed=1, words=words)
    assert (plain.image[..., 3] == colored.image[..., 3]).all()
    name = ramp_name(words)
    shown = {tuple(color) for color in colored.image[colored.image[..., 3] > 0][:, :3].tolist()}
    assert shown <= set(RAMPS[name])


@pytest.mark.parametrize("palette", PALETTES[1:])
@pytest.mark.parametrize("ramp", RAMPS)
def test_a_ramp_of_a_palette_never_gets_darker(ramp: str, palette: str) -> None:
    colors = ramp_of(ramp, locked(palette))
    lightness = to_oklab(np.array(colors, np.uint8))[:, 0]
    assert (np.diff(lightness) >= -1e-6).all()
    assert len(set(colors)) >= 3


@pytest.mark.parametrize(
    ("effects", "options", "said"),
    [
        (("boom",), {}, "fireball"),
        (("hit",), {"side": 300}, "size=32"),
        (("hit",), {"frames": 9}, "2 to 8"),
        (("smoke",), {"directions": ("right", "left")}, "Only a fireball"),
    ],
)
def test_what_cannot_be_drawn_says_what_to_give(effects: tuple[str, ...], options: dict, said: str) -> None:
    side = options.pop("side", 32)
    with pytest.raises(InvalidRequest, match=said):
        make_effects(effects, side, **options)
