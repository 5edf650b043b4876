"""Effects go through the tool, the library, a deploy and a workflow like every other animation."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pipelines.errors import InvalidRequest
from pipelines.pixels.aseprite import read_aseprite
from pipelines.records import no_progress
from server.deploy.deploy import deploy
from server.features.animations import generate_animation
from server.features.requests import AnimationRequest
from server.features.workflow_operations import operations
from server.studio import Studio
from tests.fakes import FakeBackend


def test_effects_are_kept_with_the_files_of_a_sheet_and_deployed(
    studio: Studio, game: Path, backend: FakeBackend
) -> None:
    made = generate_animation(studio, AnimationRequest(effects=("fireball", "hit"), size=16, seed=1), no_progress)
    assert backend.requests == []
    assert made.asset.report["passed"]
    assert {"layout.sheet.json", "aseprite.json", "sheet.aseprite", "preview.gif"} <= {f.name for f in made.asset.files}
    tags = read_aseprite(made.library.read(made.asset, "sheet.aseprite"), "sheet").tags
    assert [(tag.name, tag.last - tag.first + 1, tag.repeat) for tag in tags] == [("fireball", 8, 0), ("hit", 6, 1)]
    deploy(studio, made.asset.id, "fx/magic.png", overwrite=False, verify=False)
    layout = json.loads((game / "assets/fx/magic.sheet.json").read_text(encoding="utf-8"))
    assert layout["animations"]["hit"] == {"first": 8, "last": 13, "fps": 14.0, "loop": False}


def test_the_same_request_is_the_same_asset(studio: Studio) -> None:
    wanted = AnimationRequest(effects=("smoke",), prompt="green", size=32, seed=5, frames=6, fps=20)
    first, second = (generate_animation(studio, wanted, no_progress).asset for _ in range(2))
    assert first.id == second.id
    assert first.recipe.prompt == "green smoke"
    assert first.details["sheet"]["animations"]["smoke"]["fps"] == 20


def test_the_game_s_palette_rules(studio: Studio, game: Path) -> None:
    (game / "dgx-pixels.toml").write_text('palette = "p.hex"\nsize = 24\n')
    (game / "p.hex").write_text("1a1c2c\nb13e53\nef7d57\nffcd75\nf4f4f4\n")
    made = generate_animation(studio, AnimationRequest(effects=("explosion",), seed=1), no_progress)
    assert made.sheet.tile_width == 24
    assert set(made.asset.details["palette"]) <= {"1a1c2c", "b13e53", "ef7d57", "ffcd75", "f4f4f4"}
    assert made.asset.report["gates"]["in_palette"]


def test_a_prompt_without_a_colour_is_answered_with_a_note(studio: Studio) -> None:
    made = generate_animation(studio, AnimationRequest(effects=("hit",), prompt="mighty", seed=1), no_progress)
    assert "names no colour" in made.notes[0]


def test_an_effect_of_a_sprite_is_refused(studio: Studio) -> None:
    with pytest.raises(InvalidRequest, match="leave asset_id out"):
        generate_animation(studio, AnimationRequest(effects=("hit",), asset_id="0123456789ab"), no_progress)


def test_a_workflow_step_draws_effects(studio: Studio) -> None:
    project = studio.require_project(None)
    step = operations(studio, project)["generate_animation"]
    done = step.run(AnimationRequest.model_validate({"effects": "hit, heal", "size": 16, "seed": 2}), no_progress)
    assert done["prompt"] == "hit heal"
    assert "sprite_id" not in done


def test_eight_directions_are_refused_with_what_to_do_instead(studio: Studio) -> None:
    request = AnimationRequest(prompt="knight", motions=("walk",), directions=8, size=16)
    with pytest.raises(InvalidRequest, match="No diagonal views are drawn: use 4"):
        generate_animation(studio, request, no_progress)
