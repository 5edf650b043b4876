"""The files beside the pictures: what is in them, and when they are written. `make test-bevy` has Bevy read them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pipelines.records import Recipe
from server.deploy.bevy.sidecars import assets_ron, image_meta
from server.deploy.deploy import deploy, undo
from server.studio import Studio
from tests.server.deploy.bevy.test_verify import png


def test_every_field_that_bevy_demands_is_there() -> None:
    text = image_meta(19, repeat=True, rows=16)
    for field in ("label", "address_mode_w: Repeat", "mag_filter: Nearest", "border_color", "anisotropy_clamp: 1"):
        assert field in text
    assert "array_layout: Some(RowCount(rows: 16))" in text
    assert text.count("(") == text.count(")")


@pytest.mark.parametrize(("minor", "rows"), [(14, 1), (17, 16)])
def test_a_version_that_cannot_read_it_is_refused(minor: int, rows: int) -> None:
    with pytest.raises(ValueError, match=f"Bevy 0.{minor}"):
        image_meta(minor, rows=rows)


def test_metas_are_deployed_and_undone_with_the_picture_where_the_style_asks(studio: Studio, game: Path) -> None:
    (game / "dgx-pixels.toml").write_text("meta = true\n")
    files = {"tiles.png": png(1, 32, 32), "strip.png": png(2, 16, 64)}
    made = studio.library(studio.project()).add("tileset", files, Recipe("tileset", "grass", 16, 16, seed=1))
    done = deploy(studio, made.id, "tiles/grass.png")
    assert done.paths[0] == "tiles/grass.png"
    assert "array_layout" not in (game / "assets/tiles/grass.png.meta").read_text()
    assert "RowCount(rows: 4)" in (game / "assets/tiles/grass_strip.png.meta").read_text()
    undo(studio)
    assert not list((game / "assets/tiles").iterdir())


def test_a_folder_becomes_dynamic_assets(tmp_path: Path) -> None:
    (tmp_path / "sheets").mkdir()
    (tmp_path / "sheets/bat.png").write_bytes(b"")
    sheet = {"image": "bat.png", "tile_size": [32, 24], "columns": 4, "rows": 2}
    (tmp_path / "sheets/bat.sheet.json").write_text(json.dumps(sheet))
    (tmp_path / "sheets/broken.sheet.json").write_text("{")
    assert assets_ron(tmp_path) == (
        "({\n"
        '    "sheets.bat": Image(path: "sheets/bat.png", sampler: Nearest),\n'
        '    "sheets.bat.layout": TextureAtlasLayout(tile_size_x: 32, tile_size_y: 24, columns: 4, rows: 2),\n'
        "})\n"
    )
