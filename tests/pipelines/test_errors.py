"""Every error becomes a message that a user can act on."""

from __future__ import annotations

import csv
import errno
import io
import json
import logging
import os
import re
import sqlite3
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
from pydantic import BaseModel

from loras.errors import JobError
from pipelines.errors import InvalidRequest, UserError, report, sentence
from pipelines.files import user_path
from pipelines.visible import visible
from server.errors import DeployError
from workflows.errors import WorkflowError


class Wanted(BaseModel):
    size: int


def raised_by(provoke: Callable[[], object]) -> Exception:
    try:
        provoke()
    except Exception as error:
        return error
    raise AssertionError("no error was raised")


def huge_field() -> object:
    return list(csv.reader(io.StringIO("x" * 200_000)))


def deep_json() -> object:
    return json.loads("[" * 200_000)


EXPECTED: dict[str, tuple[Callable[[], object], str]] = {
    "a file that is missing": (lambda: Path("/nowhere/at/all").read_text(), "does not exist. Check the path"),
    "a NUL in a path": (lambda: Path("a\0b").stat(), "NUL character"),
    "a user that is unknown": (lambda: user_path("~nouser_at_all/x"), "home folder in '~nouser_at_all/x' is unknown"),
    "deep JSON": (deep_json, "nested too deeply"),
    "broken JSON": (lambda: json.loads('{"a":\n oops}'), r"not valid JSON: .*line 2"),
    "broken TOML": (lambda: tomllib.loads("a = = 1"), "not valid TOML"),
    "a huge CSV field": (huge_field, "CSV table cannot be read: field larger"),
    "bytes that are not UTF-8": (lambda: b"\xff".decode(), "not valid UTF-8"),
    "a database that is none": (lambda: sqlite3.connect("/nowhere/at/all.sqlite"), "database cannot be used"),
    "a number that is too large": (lambda: (2**70).to_bytes(8, "little"), "number is too large"),
    "a value of another type": (lambda: Wanted.model_validate({"size": "x"}), "size: Input should be a valid integer"),
}


@pytest.mark.parametrize("kind", EXPECTED)
def test_an_expected_error_is_a_sentence_without_the_name_of_its_class(kind: str) -> None:
    provoke, message = EXPECTED[kind]
    error = raised_by(provoke)
    told = sentence(error)
    assert re.search(message, told), told
    assert type(error).__name__ not in told
    assert told.endswith((".", "again."))


def test_an_unexpected_error_gets_an_id_that_is_in_the_log_with_the_traceback(
    caplog: pytest.LogCaptureFixture,
) -> None:
    error = raised_by(lambda: {}["unet"])
    assert sentence(error) == ""
    told = report(error)
    assert "KeyError" not in told
    number = told.split("(error ")[1][:8]
    (record,) = (r for r in caplog.records if r.levelno == logging.ERROR)
    assert number in record.getMessage()
    assert record.exc_info


def test_the_errors_of_all_packages_are_user_errors_and_control_characters_in_them_are_visible() -> None:
    for error in (JobError, WorkflowError, DeployError, InvalidRequest):
        assert issubclass(error, UserError)
        assert sentence(error("the file \x1b[2J\u202egnp.exe is bad.")) == "the file \\x1b[2J\\u202egnp.exe is bad."


def test_a_message_is_never_longer_than_a_screen() -> None:
    assert len(sentence(InvalidRequest("x" * 1_000_000))) == 2000


def test_a_full_disk_names_the_file_and_what_to_do() -> None:
    told = sentence(OSError(errno.ENOSPC, "No space left on device", "/disk/hero.png"))
    assert "There is no room left to write /disk/hero.png" in told


def test_text_without_control_characters_stays_as_it_is() -> None:
    text = "a red dragon\n\twith «wings» 龍 🐉"
    assert visible(text) == text
    assert visible("name\udcff.png") == "name\\udcff.png"


@pytest.mark.parametrize(("level", "shown"), [("debug", True), ("error", False), ("nonsense", False), ("", False)])
def test_the_log_level_comes_from_the_environment(level: str, shown: bool) -> None:
    program = (
        "from pipelines.log import set_up_logging\nimport logging\nset_up_logging()\n"
        "logging.getLogger('loras.anything').debug('a detail')\nlogging.getLogger('server').error('a fault')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "DGX_PIXELS_LOG": level},
        capture_output=True,
        text=True,
        check=True,
    )
    assert ("a detail" in done.stderr) == shown
    assert "ERROR server: a fault" in done.stderr
    assert done.stdout == ""
