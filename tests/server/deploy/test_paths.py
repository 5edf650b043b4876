"""The path rules."""

from __future__ import annotations

import pytest

from server.deploy.paths import check_path, suggest_path
from server.errors import DeployError

BAD = [
    "",
    "hero",
    "hero.PNG",
    "Hero.png",
    "/hero.png",
    "../hero.png",
    "a/../hero.png",
    "a//hero.png",
    "./hero.png",
    ".hidden.png",
    "a/.png",
    "assets/hero.png",
    "c:/hero.png",
    "a\\hero.png",
    "hero.png\0",
    "hero.png\n",
    "con.png",
    "a/lpt1/hero.png",
    "hero.gif.png",
    "hero#1.png",
    "h\u00e9ro.png",
    "a" * 300 + ".png",
]


@pytest.mark.parametrize("path", BAD)
def test_a_bad_path_is_refused_with_one_that_follows_the_rules(path: str) -> None:
    with pytest.raises(DeployError) as error:
        check_path(path)
    suggestion = str(error.value).rsplit("'", 2)[1]
    assert check_path(suggestion) == suggestion


@pytest.mark.parametrize("path", ["hero.png", "sprites/hero_2.png", "a/b/c/d_e/f0.png"])
def test_a_good_path_stays_as_it_is(path: str) -> None:
    assert check_path(path) == path


def test_the_suggestion_keeps_what_it_can() -> None:
    assert suggest_path("assets/Sprites/Big Hero.PNG") == "sprites/big_hero.png"
