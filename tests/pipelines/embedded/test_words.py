"""Prompts in the embedded model's words."""

from __future__ import annotations

import subprocess
import sys

import pytest

from pipelines.embedded.words import (
    PHRASES,
    ROOM,
    color_asked,
    how_read,
    known_words,
    main,
    nearest_words,
    part_color_asked,
    read_prompt,
    synonyms,
    unknown_words,
    wanted,
    without_parts,
)


@pytest.mark.parametrize(
    ("prompt", "text"),
    [
        ("red dragon", "red dragon"),
        ("Pixel art of a fluffy bunny, 32x32", "fluffy bunny"),
        ("health potion", "red potion"),
        ("two wolves", "two wolf"),
        ("a dragn", "dragon"),
        ("seamless grass texture", "grass"),
        ("grey armour", "gray armor"),
        ("a green door", "green wooden closed door"),
        ("an open treasure chest", "open treasure chest"),
    ],
)
def test_a_prompt_is_put_into_words_the_model_knows(prompt: str, text: str):
    reading = read_prompt(prompt)
    assert reading.text == text
    assert reading.unknown == ()


def test_a_bow_is_called_wooden_at_the_size_where_that_draws_it_better():
    assert read_prompt("brown bow").text == "brown wooden bow"
    assert read_prompt("brown bow", 16).text == "brown bow"
    assert read_prompt("wooden table").text == "wooden table"


def test_fair_hair_is_worded_as_the_people_of_each_size_have_it():
    for said in ("blond", "blonde", "yellow", "golden"):
        assert read_prompt(f"woman with {said} hair").text == "woman with blonde hair"
        assert read_prompt(f"woman with {said} hair", 16).text == "woman with blond hair"


@pytest.mark.parametrize(
    ("prompt", "color"),
    [
        ("red dragon", "red"),
        ("wizard in a blue robe", "blue"),
        ("dwarf with a red beard", ""),
        ("green goblin holding a red potion", "green"),
        ("woman with a red dress", "red"),
        ("monster with bright green skin", "green"),
        ("wooden sword with a green gem", ""),
    ],
)
def test_a_colour_of_a_part_is_not_asked_of_the_whole_picture(prompt: str, color: str):
    assert color_asked(prompt) == color


@pytest.mark.parametrize(
    ("prompt", "text"),
    [
        ("man wearing a crown", "man with gold crown"),
        ("queen wearing a silver crown", "queen with silver crown"),
        ("knight wearing a red robe", "knight wearing red robe"),
        ("ninja in purple clothes", "ninja purple"),
        ("clothes", "clothes"),
        ("crown", "crown"),
    ],
)
def test_what_is_worn_is_worded_as_in_the_captions(prompt: str, text: str):
    assert read_prompt(prompt).text == text


@pytest.mark.parametrize(
    ("prompt", "bare"),
    [
        ("dwarf with a red beard", "dwarf "),
        ("Wizard in a blue robe holding a book", "Wizard "),
        ("horse facing left", "horse "),
        ("red dragon", ""),
        ("red dragon in pixel art", ""),
        ("with a red beard", ""),
        ("xyzzy with a sword", ""),
        ("white rabbit with red eyes", ""),
    ],
)
def test_a_prompt_without_its_parts_is_what_comes_before_the_first(prompt: str, bare: str):
    assert without_parts(prompt) == bare


@pytest.mark.parametrize(
    ("prompt", "names", "where"),
    [
        ("dwarf with a red beard", ("red", "orange"), "chin"),
        ("woman with blonde hair", ("yellow", "orange"), "top"),
        ("sword with a blue handle", ("blue",), ""),
        ("woman with a red dress", (), ""),
        ("red dragon", (), ""),
        ("knight with a sword", (), ""),
    ],
)
def test_the_colour_of_a_part_is_read_with_where_the_part_is(prompt: str, names: tuple[str, ...], where: str):
    assert part_color_asked(prompt) == (names, where)


@pytest.mark.parametrize(
    ("prompt", "text", "unknown"),
    [
        ("villager facing front", "villager", ()),
        ("knight seen from behind", "knight", ("behind",)),
        ("old wizard facing left with a staff", "old wizard with staff", ("left",)),
        ("horse facing left", "horse facing left", ()),
        ("chair seen from behind", "chair seen from behind", ()),
    ],
)
def test_a_view_of_people_that_the_model_cannot_draw_is_reported(prompt: str, text: str, unknown: tuple[str, ...]):
    assert (read_prompt(prompt).text, read_prompt(prompt).unknown) == (text, unknown)


def test_a_word_that_nothing_is_near_is_reported_and_left_out():
    assert unknown_words("cyberpunk goblin hacker") == ("cyberpunk", "hacker")
    assert read_prompt("cyberpunk goblin").text == "goblin"


def test_a_prompt_without_a_known_word_is_left_as_it_is():
    assert read_prompt("xyzzy").text == "xyzzy"
    assert read_prompt("").text == ""


def test_words_beyond_the_models_room_are_reported():
    reading = read_prompt(" ".join(["red dragon"] * 10) + " goblin")
    assert len(reading.text.split()) == ROOM
    assert reading.unknown[-1] == "goblin"


def test_every_synonym_and_phrase_leads_to_known_words():
    meant = {word for words in synonyms().values() for word in words}
    meant |= {word for phrase in PHRASES.values() for word in phrase.split() if not nearest_words(word)}
    assert meant <= known_words()


def test_reading_a_prompt_imports_no_torch():
    code = "import sys, pipelines.embedded.words as w; w.read_prompt('red dragon'); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_of_what_people_ask_for_less_than_three_in_a_hundred_is_unknown():
    entries = [entry for subject in wanted().values() for entry in subject]
    assert len(set(entries)) == len(entries) >= 2000
    assert sum(how_read(entry) == "unknown" for entry in entries) < 0.03 * len(entries)


@pytest.mark.parametrize(
    ("word", "meant"),
    [
        ("kitty", "cat"),
        ("dirk", "dagger"),  # not "dark"
        ("document", "scroll"),  # known, but from one-colour icons alone
        ("lake", "water"),  # not "cake"
        ("crimson", "red"),
    ],
)
def test_a_word_is_read_as_what_is_meant_not_as_what_is_spelled_like_it(word: str, meant: str):
    assert read_prompt(word).text == meant


@pytest.mark.parametrize("word", ["zither", "hologram", "cheap"])
def test_a_word_with_nothing_near_it_stays_unknown(word: str):
    assert nearest_words(word) == ()
    assert how_read(word) == "unknown"


@pytest.mark.parametrize(
    ("prompt", "how"),
    [
        ("red dragon", "known"),
        ("wooly dragon", "form"),
        ("gobblin", "spelling"),
        ("red kitty", "synonym"),
    ],
)
def test_how_a_prompt_is_read_is_reported(prompt: str, how: str):
    assert how_read(prompt) == how


def test_the_report_counts_every_subject(capsys: pytest.CaptureFixture[str]):
    assert main() == 0
    told = capsys.readouterr().out
    assert all(f"| {subject} | {len(entries)} |" in told for subject, entries in wanted().items())
