"""The judge that is not the model, and the prompts that it is asked about."""

import numpy as np
import pytest

from pipelines.embedded.judge import KINDS, as_seen, load_judge, match, noun_asked
from pipelines.embedded.words import unknown_words
from tests.bench.embedded.quality import HELD_OUT_PROMPTS

NOUNS = ("axe", "king", "skeleton", "hat", "sword", "boots", "crystal")


@pytest.mark.parametrize(
    ("prompt", "noun"),
    [
        ("gray axe", "axe"),
        ("hatchet with a skull", "axe"),
        ("old king in a red robe and a hat", "king"),
        ("skeleton archer", "skeleton"),
        ("rusty blade", "sword"),
        ("pair of brown boots", "boots"),
        ("crystal wolf", ""),  # a wolf is not drawn well where it looks like a crystal
        ("xyzzy", ""),
    ],
)
def test_a_prompt_asks_for_the_noun_that_it_shows(prompt: str, noun: str) -> None:
    assert noun_asked(prompt, NOUNS) == noun


def test_there_is_no_answer_about_a_noun_that_the_judge_does_not_know() -> None:
    assert match([np.zeros((32, 32, 4), np.uint8)], "xyzzy") is None


@pytest.mark.parametrize("size", [(8, 8), (16, 16), (24, 24), (32, 32), (48, 48), (64, 64), (16, 32)])
def test_the_judge_sees_a_picture_of_any_size(size: tuple[int, int]) -> None:
    picture = np.full((size[1], size[0], 4), 255, np.uint8)
    picture[: size[1] // 4, : size[0] // 4] = 0
    seen = as_seen(picture)
    assert seen.shape == (32, 32, 4)
    assert (seen[seen[..., 3] == 0] == 0).all()
    answer = match([picture, picture], "red dragon")
    assert answer is not None
    assert answer[0] == answer[1]


def test_an_empty_picture_is_seen_as_empty() -> None:
    assert not as_seen(np.zeros((48, 48, 4), np.uint8)).any()


def test_held_out_prompts_are_of_all_kinds_and_in_known_words() -> None:
    prompts = [prompt for group in HELD_OUT_PROMPTS.values() for prompt in group]
    assert set(HELD_OUT_PROMPTS) <= set(KINDS)
    assert len(set(prompts)) == len(prompts) >= 60
    assert not [prompt for prompt in prompts if unknown_words(prompt)]
    assert sum(len(prompt.split()) > 3 for prompt in prompts) >= 20
    assert sum(bool(noun_asked(prompt, load_judge().nouns)) for prompt in prompts) >= 40
