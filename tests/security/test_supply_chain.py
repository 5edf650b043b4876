"""What gets installed and pulled is what was looked at."""

from __future__ import annotations

import importlib.metadata
import re
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from pipelines.models import hub
from pipelines.models.hub import Repo, snapshot
from server.library.rows import DIGEST
from tests.bench import audit

ROOT = Path(__file__).parents[2]
OF_TORCH = re.compile(r"nvidia-|cuda-|triton")
"""Parts of torch's CUDA build: which ones there are depends on the machine, and each torch demands its own versions."""


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def pins() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    return {canonical(line.split("==")[0]): line.split("==")[1] for line in lines if "==" in line}


def needed() -> set[str]:
    """Every distribution that `pip install -e .[dev]` brings on this machine."""
    found: set[str] = set()
    left = [("dgx-pixels", frozenset({"dev"}))]
    while left:
        name, extras = left.pop()
        for text in importlib.metadata.requires(name) or ():
            wanted = Requirement(text)
            if wanted.marker and not any(wanted.marker.evaluate({"extra": extra}) for extra in (*extras, "")):
                continue
            other = canonical(wanted.name)
            if other not in found:
                try:
                    importlib.metadata.version(other)
                except importlib.metadata.PackageNotFoundError:
                    continue  # for another machine
                found.add(other)
                left.append((other, frozenset(wanted.extras)))
    return found


def test_every_package_that_is_installed_has_an_exact_version() -> None:
    pinned = pins()
    missing = sorted(name for name in needed() if name not in pinned and not OF_TORCH.match(name))
    assert missing == []
    assert len(needed()) > 60


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    folder = tmp_path / "models--me--mine"
    for commit in ("a" * 40, "b" * 40):
        (folder / "snapshots" / commit).mkdir(parents=True)
        (folder / "snapshots" / commit / "model_index.json").write_text("{}")
    (folder / "refs").mkdir()
    (folder / "refs" / "main").write_text("a" * 40)
    return tmp_path


def test_a_model_stays_at_the_commit_that_was_pulled_when_its_branch_moves(cache: Path) -> None:
    repo = Repo("me/mine")
    assert hub.pinned(repo) == ""
    hub.pin([hub.Wanted(repo, "model_index.json", "a" * 40, 2, True)])
    (cache / "models--me--mine/refs/main").write_text("b" * 40)
    assert hub.pinned(repo) == "a" * 40
    assert snapshot(repo) == cache / "models--me--mine/snapshots" / ("a" * 40)
    other = snapshot(Repo("me/mine", "b" * 40))
    assert other is not None
    assert other.name == "b" * 40


@pytest.mark.parametrize("text", ["../../../outside", "a" * 39 + "/", "", "A" * 40, "a" * 10_000])
def test_a_reference_that_is_not_a_commit_leads_nowhere(cache: Path, text: str) -> None:
    (cache.parent / "outside").mkdir(exist_ok=True)
    (cache / "models--me--mine/refs/main").write_text(text)
    (cache / hub.PINS).write_text('{"me/mine@main": "../../../outside"}')
    assert snapshot(Repo("me/mine")) is None


def test_an_audit_without_its_tools_says_what_was_not_checked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert audit.python_packages(str(tmp_path / "pip-audit")) == 0
    assert audit.crates() == 0
    printed = capsys.readouterr().out
    assert "Python packages: not checked, pip-audit cannot be started" in printed
    assert "Crates: not checked, cargo-audit is not installed" in printed


@pytest.mark.parametrize("digest", ["G" * 64, "A" * 64, "a" * 63, "", "a" * 64 + "/../x", None])
def test_only_64_lower_case_hex_digits_are_a_digest(digest: str | None) -> None:
    assert not DIGEST.fullmatch(digest or "")
    assert not hub._SHA256.fullmatch(digest or "")
