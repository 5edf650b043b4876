"""Pieces stretch exactly by the insets that were found, in every look and size; the font is complete and described."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest

from pipelines.errors import InvalidRequest
from pipelines.pixels.named_palettes import named_palette
from pipelines.pixels.palette import Palette
from pipelines.records import Pixels
from pipelines.ui.font import FIRST, LAST, glyphs, make_font, text_mask
from pipelines.ui.kit import make_kit, regions_json
from pipelines.ui.patches import Insets, find_insets, stretch
from pipelines.ui.pieces import BUTTON_STATES, MATERIALS, look_of, panel


@pytest.mark.parametrize("side", [16, 20, 24, 32, 48])
@pytest.mark.parametrize("material", MATERIALS)
def test_every_look_holds_its_gates(material: str, side: int) -> None:
    for color in ("", "purple"):
        assert make_kit(f"{color} {material}", side).report.passed


@pytest.mark.parametrize("name", ["pico-8", "game boy"])
def test_a_locked_palette_rules_kit_and_font(name: str) -> None:
    palette = Palette.from_hex(named_palette(name))
    kit = make_kit("stone", 32, palette=palette)
    assert kit.report.gates["in_palette"]
    assert kit.report.passed


@pytest.mark.parametrize(("width", "height"), [(33, 32), (64, 48), (145, 99)])
def test_a_stretched_panel_is_the_panel_drawn_at_that_size(width: int, height: int) -> None:
    kit = make_kit("wood", 32)
    assert (kit.at("panel", width, height) == panel(kit.look, width, height)).all()


def test_insets_that_do_not_exist_are_not_found() -> None:
    def gradient(width: int, height: int) -> Pixels:
        picture = np.zeros((height, width, 4), np.uint8)
        picture[..., 0] = np.linspace(0, 255, width).astype(np.uint8)
        return picture

    assert find_insets(gradient, 16, 16) is None


def test_stretching_repeats_what_lies_between_the_insets() -> None:
    picture = np.arange(4, dtype=np.uint8)[None, :, None].repeat(4, 2)
    assert stretch(picture, Insets(1, 1, 0, 0), 7, 1)[0, :, 0].tolist() == [0, 1, 2, 1, 2, 1, 3]


def test_buttons_of_all_states_share_a_size_and_look_different() -> None:
    kit = make_kit("metal", 32)
    shown = [kit.piece(f"button_{state}") for state in BUTTON_STATES]
    assert len({picture.shape for picture in shown}) == 1
    assert len({picture.tobytes() for picture in shown}) == 4


@pytest.mark.parametrize("side", [16, 20, 32])
def test_words_in_the_preview_lie_inside_their_buttons(side: int) -> None:
    kit = make_kit("wood", side)
    unit = max(side, 20)
    left, top, tall = unit // 4 + unit * 5 - unit // 8, unit // 4, kit.regions["button_normal"].height
    for row, state in enumerate(("normal", "hover")):
        y = top + row * (tall + unit // 4)
        edge = kit.at(f"button_{state}", 3 * unit, tall)[:, :3]
        shown = kit.preview[y : y + tall, left : left + 3]
        assert (shown[edge[..., 3] > 0] == edge[edge[..., 3] > 0]).all()


def test_the_regions_say_where_everything_is() -> None:
    icon = np.full((16, 16, 4), 255, np.uint8)
    kit = make_kit("wood", 32, {"key": icon})
    data = json.loads(regions_json(kit, "sheet.png", "font.png"))
    x, y, width, height = data["pieces"]["icon_key"]["rect"]
    assert (kit.image[y : y + height, x : x + width] == icon).all()
    assert data["pieces"]["panel"]["scale"] == "tile"
    assert data["pieces"]["button_normal"]["insets"]["left"] > 0
    assert data["pieces"]["cursor_hand"]["point"] == [5, 0]
    places = [entry["rect"] for entry in data["pieces"].values()]
    taken = np.zeros(kit.image.shape[:2], int)
    for x, y, width, height in places:
        taken[y : y + height, x : x + width] += 1
    assert taken.max() == 1


def test_the_font_has_every_printable_character_and_tells_them_apart() -> None:
    known = glyphs()
    assert set(known) == {chr(code) for code in range(FIRST, LAST + 1)}
    drawn = {character: (glyph.shape, glyph.tobytes()) for character, glyph in known.items()}
    assert len(set(drawn.values())) == len(drawn)


def test_the_descriptor_leads_to_each_glyph() -> None:
    font = make_font([(0, 0, 0), (60, 60, 60), (120, 120, 120), (180, 180, 180), (255, 255, 255)])
    lines = font.descriptor.decode().splitlines()
    assert "chars count=95" in lines
    line = next(line for line in lines if line.startswith("char id=65 "))
    at = {name: int(value) for name, value in re.findall(r"(\w+)=(-?\d+)", line)}
    cell = font.image[at["y"] : at["y"] + at["height"], at["x"] : at["x"] + at["width"]]
    light = (cell[..., 0] >= 180) & (cell[..., 3] == 255)
    assert (light[1:-1, 1:-1] == text_mask("A")).all()
    assert at["xadvance"] == text_mask("A").shape[1] + 1


def test_a_size_out_of_range_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="size=32"):
        make_kit("wood", 8)


def test_a_prompt_names_material_and_colour() -> None:
    blue, plain = look_of("blue stone", 32), look_of("stone wall", 32)
    assert blue.material == plain.material == "stone"
    assert look_of("golden parchment", 32).material == "paper"
    assert look_of("red wood", 32).accent != look_of("wood", 32).accent
