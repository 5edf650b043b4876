"""What a figure wears and holds: read from the prompt, and learned from tagged pictures."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors import safe_open

from pipelines.embedded.training.worn import main
from pipelines.embedded.worn import load_worn, things_asked


@pytest.mark.parametrize(
    ("prompt", "things"),
    [
        ("knight with a sword and a shield", {"sword", "shield"}),
        ("viking with a horned helmet", {"horned helmet"}),
        ("witch wearing a pointed hat", {"pointed hat"}),
        ("wizard in a blue robe", {"robe"}),
        ("sword", set()),
        ("sword with a red handle", set()),
    ],
)
def test_what_should_be_worn_and_held_is_read_behind_the_subject(prompt: str, things: set[str]):
    assert set(things_asked(prompt, load_worn()[0])) == things


@pytest.mark.slow
def test_things_are_learned_from_tags_where_groups_that_were_left_out_show_them(tmp_path: Path):
    random = np.random.default_rng(0)
    rows = []
    for i in range(120):
        picture = np.zeros((32, 32, 4), np.uint8)
        picture[8:28, 12:20] = (*random.integers(60, 200, 3), 255)
        if i % 2:
            picture[4:24, 24:26] = (220, 220, 230, 255)
        Image.fromarray(picture).save(tmp_path / f"{i}.png")
        tags = [*(["long sword"] if i % 2 else []), *(["crown"] if random.random() < 0.5 else [])]
        rows.append({"file_name": f"{i}.png", "tags": tags, "profession": "abcdef"[i % 6]})
    (tmp_path / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)))
    out = tmp_path / "worn.safetensors"
    assert main([str(tmp_path), "--out", str(out)]) == 0
    with safe_open(out, "pt") as file:
        assert json.loads(file.metadata()["things"]) == ["sword"]  # crowns were tagged by chance
        assert file.get_tensor("weight").shape[1] == 1
