"""Kits go through the library, a deploy, a workflow and a command; icons are drawn by the model."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pipelines.errors import InvalidRequest
from pipelines.records import no_progress
from server.deploy.deploy import deploy, undo
from server.features.requests import UiRequest
from server.features.ui import generate_ui, ui_snippet
from server.features.workflow_operations import operations
from server.studio import Studio
from tests.fakes import FakeBackend


def test_a_kit_is_deployed_with_its_regions_and_font(studio: Studio, game: Path, backend: FakeBackend) -> None:
    made = generate_ui(studio, UiRequest(prompt="stone", icons=("sword", "red potion"), seed=1), no_progress)
    assert [request.prompts for request in backend.requests]
    assert {"icon_sword", "icon_red_potion"} <= set(made.kit.regions)
    assert made.asset.report["passed"]
    deploy(studio, made.asset.id, "ui/kit.png", overwrite=False, verify=False)
    folder = game / "assets/ui"
    assert json.loads((folder / "kit.json").read_text(encoding="utf-8"))["image"] == "kit.png"
    assert json.loads((folder / "kit.json").read_text(encoding="utf-8"))["font"]["image"] == "kit_font.png"
    assert 'file="kit_font.png"' in (folder / "kit.fnt").read_text(encoding="utf-8")
    assert (folder / "kit_font.png").exists()
    assert not (folder / "kit_preview.png").exists()
    undo(studio, "ui/kit.png", verify=False)
    assert not (folder / "kit.fnt").exists()


def test_the_same_request_is_the_same_asset(studio: Studio) -> None:
    wanted = UiRequest(prompt="blue metal", icons=("key",), size=16, seed=5)
    assert generate_ui(studio, wanted, no_progress).asset.id == generate_ui(studio, wanted, no_progress).asset.id


def test_icons_with_one_name_stay_apart(studio: Studio) -> None:
    made = generate_ui(studio, UiRequest(icons=("key", "key"), seed=1), no_progress)
    assert {"icon_key", "icon_key_2"} <= set(made.kit.regions)


def test_too_many_icons_are_refused_before_anything_is_drawn(studio: Studio, backend: FakeBackend) -> None:
    with pytest.raises(InvalidRequest, match="at most 32"):
        generate_ui(studio, UiRequest(icons=("key",) * 33), no_progress)
    assert backend.requests == []


def test_the_rust_names_every_piece(studio: Studio) -> None:
    made = generate_ui(studio, UiRequest(seed=1), no_progress)
    rust = ui_snippet(made.kit, "ui/kit.png")
    assert all(f'"{name}" =>' in rust for name in made.kit.regions)
    assert 'asset_server.load("ui/kit.png")' in rust


def test_a_workflow_step_makes_a_kit(studio: Studio) -> None:
    step = operations(studio, studio.require_project(None))["generate_ui"]
    done = step.run(UiRequest.model_validate({"prompt": "paper", "icons": "key, heart", "seed": 2}), no_progress)
    assert "icon_heart" in done["pieces"]
