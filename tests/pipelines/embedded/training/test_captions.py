"""What training sprites are called."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipelines.embedded.language import families
from pipelines.embedded.training.captions import read_words
from pipelines.embedded.training.data import read_sprites


@pytest.mark.parametrize(
    ("text", "tags", "kind", "noun"),
    [
        ("gray granite stump on stone base", "stump granite", "prop", "stump"),
        ("pair of leather boots", "boots", "item", "boots"),
        ("dark gray leather boots pair", "boots", "item", "boots"),
        ("brown wooden closed double door in gray stone arch", "door", "prop", "door"),
        ("brown chest closed with gold bands", "chest", "prop", "chest"),
        ("red and pink stone wall carved with large swirls", "wall", "tile", "wall"),
        ("dark gray lava orc woman, red cloth, cool gray cracks", "orc lava woman", "character", "orc"),
        ("muscular man with axe", "man", "character", "man"),
        ("gray wolf prowling with white snout", "animal wolf dog", "character", "wolf"),
        ("green cloud, small with scattered bits", "poison gas", "effect", "cloud"),
    ],
)
def test_a_sprite_is_called_by_what_it_shows(text: str, tags: str, kind: str, noun: str) -> None:
    assert read_words(text, tags, kind=kind).noun == noun


@pytest.mark.parametrize(
    ("text", "tags", "kind", "noun"),
    [
        ("red jelly blob with tentacle legs", "jelly monster", "character", "slime"),
        ("dark red lava floor tile with bright yellow veins", "lava floor", "tile", "lava"),
        ("orange campfire flame on brown wooden logs", "campfire", "prop", "campfire"),
        ("brown hare sitting with long ears", "hare", "character", "rabbit"),
        ("silver curved cutlass with gold hand guard", "cutlass", "item", "sword"),
    ],
)
def test_a_rare_word_is_learned_with_the_common_one(text: str, tags: str, kind: str, noun: str) -> None:
    words = read_words(text, tags, kind=kind)
    assert words.noun == noun
    assert noun in words.tags
    assert words.sentence == read_words(text, tags).sentence  # the caption keeps the rare word


def test_a_family_holds_for_its_kind_alone() -> None:
    assert read_words("green jelly in a glass bowl", "jelly", kind="item").noun == "jelly"
    assert ("item", "jelly") not in families()


def test_words_of_a_file_name_say_what_an_icon_shows() -> None:
    campfire = read_words(
        "weather campfire camping site rest", "rest weather campfire", kind="item", said="narrow last"
    )
    assert campfire.noun == "campfire"
    assert read_words("rpg weapon bow ranged", "bow", kind="item", said="narrow last").noun == "bow"
    assert read_words("hats bow ribbon", "bow ribbon", kind="item", said="narrow last").noun == "hat"
    assert (
        read_words("chain lightning air", "lightning chain air", kind="effect", said="narrow first").noun == "lightning"
    )


def test_ground_that_leaves_most_of_the_canvas_clear_is_called_an_edge(tmp_path: Path) -> None:
    for name, rows in (("full", 32), ("border", 6)):
        Image.fromarray(np.repeat([[40, 80, 200, 255]], 32 * rows, 0).reshape(rows, 32, 4).astype(np.uint8)).save(
            tmp_path / f"{name}.png"
        )
    lines = [{"file_name": f"{n}.png", "text": "blue water", "kind": "tile"} for n in ("full", "border")]
    (tmp_path / "metadata.jsonl").write_text("\n".join(map(json.dumps, lines)))
    full, border = read_sprites([tmp_path])
    assert full.words.style == ()
    assert border.words.style == ("edge",)
    assert border.share < full.share
