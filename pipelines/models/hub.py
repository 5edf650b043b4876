"""Find and fetch files of the Hugging Face hub in the cache that all programs of this machine share.

A pull reports progress, resumes after a break, checks every checksum and remembers the commit. huggingface_hub is
imported only when something is fetched; looking a file up reads folders.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from filelock import FileLock

from pipelines.engine.hardware import hub_cache
from pipelines.errors import FileError, ModelError, TextError
from pipelines.files import read_bytes
from pipelines.records import OnProgress, no_progress
from pipelines.text_files import read_json

PINS = "dgx-pixels-pins.json"
"""In the cache: which commit was pulled for a branch or tag."""
_COMMIT = re.compile(r"[0-9a-f]{40}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
RESERVE = 1 << 30
"""Bytes of disk that stay free after a download."""


@dataclass(frozen=True, slots=True)
class Repo:
    """Some files of one repository. `revision`: a commit, a tag or a branch; what was fetched is always a commit.

    `otherwise` is added to `files` where these match no weights (a checkpoint without a half-precision variant).
    """

    id: str
    revision: str = "main"
    files: tuple[str, ...] = ("*",)
    licence: str = "unknown"
    otherwise: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Wanted:
    """One file to fetch. Sizes in bytes."""

    repo: Repo
    name: str
    commit: str
    size: int
    cached: bool


@dataclass(frozen=True, slots=True)
class Plan:
    """What a pull would do: shown before anything is fetched."""

    files: tuple[Wanted, ...]
    free: int

    @property
    def size(self) -> int:
        """Bytes that are not there yet."""
        return sum(f.size for f in self.files if not f.cached)

    @property
    def commits(self) -> dict[str, str]:
        """Repository -> commit, 40 hex digits."""
        return {f.repo.id: f.commit for f in self.files}

    @property
    def licences(self) -> dict[str, str]:
        """Repository -> licence."""
        return {f.repo.id: f.repo.licence for f in self.files}


def snapshot(repo: Repo) -> Path | None:
    """Returns the folder of what was fetched of a repository at that revision, or None."""
    folder = hub_cache() / f"models--{repo.id.replace('/', '--')}"
    for commit in (pinned(repo), _referred(folder / "refs" / repo.revision), repo.revision):
        if _COMMIT.fullmatch(commit):
            found = folder / "snapshots" / commit
            if found.is_dir() and any(found.iterdir()):
                return found
    return None


def pinned(repo: Repo) -> str:
    """Returns the commit that was pulled for a branch or tag, 40 hex digits; empty where none was pulled here.

    The cache is shared: another program that follows the branch does not change which weights draw here.
    """
    commit = _pins().get(f"{repo.id}@{repo.revision}", "")
    return commit if isinstance(commit, str) and _COMMIT.fullmatch(commit) else ""


def pulled_names() -> list[str]:
    """Lists `owner/name@revision` of every repository that was pulled here and has its commit noted, sorted."""
    return sorted(name for name, commit in _pins().items() if isinstance(commit, str) and _COMMIT.fullmatch(commit))


def _pins() -> dict[str, Any]:
    try:
        value = read_json(hub_cache() / PINS)
    except (TextError, OSError):
        return {}
    return value if isinstance(value, dict) else {}


def pin(files: Iterable[Wanted]) -> None:
    """Remembers the commit of every branch and tag that was pulled."""
    pins = _pins() | {f"{f.repo.id}@{f.repo.revision}": f.commit for f in files if _COMMIT.fullmatch(f.commit)}
    part = hub_cache() / f".{PINS}.part"
    part.write_text(json.dumps(pins, indent=1, sort_keys=True), encoding="utf-8")
    part.replace(hub_cache() / PINS)


def _referred(reference: Path) -> str:
    """Returns the commit that huggingface_hub recorded for a branch; empty if it recorded none."""
    try:
        return read_bytes(reference, 100).decode("ascii", "replace").strip() if reference.is_file() else ""
    except (FileError, OSError):
        return ""


def cached_file(repo: Repo, name: str) -> Path | None:
    """Returns a file of a repository if it was fetched."""
    folder = snapshot(repo)
    return folder / name if folder and (folder / name).exists() else None


def plan_pull(repos: Sequence[Repo], endpoint: str | None = None) -> Plan:
    """Returns what is missing of these repositories, asked of the hub.

    Raises:
        ModelError: the hub cannot be reached, or does not have one of them.
    """
    from huggingface_hub import HfApi, try_to_load_from_cache

    cache = hub_cache()
    wanted: list[Wanted] = []
    for repo in repos:
        with _hub_errors(repo):
            info = HfApi(endpoint=endpoint).model_info(repo.id, revision=repo.revision, files_metadata=True)
        sizes = {sibling.rfilename: sibling.size or 0 for sibling in info.siblings or ()}
        names = _matching(sizes, repo.files)
        if not any(name.endswith(".safetensors") for name in names):
            names = _matching(sizes, (*repo.files, *repo.otherwise))
        for name in names:
            there = try_to_load_from_cache(repo.id, name, cache_dir=cache, revision=info.sha)
            wanted.append(Wanted(repo, name, _commit(info.sha, repo), sizes[name], isinstance(there, str)))
    cache.mkdir(parents=True, exist_ok=True)
    return Plan(tuple(wanted), shutil.disk_usage(cache).free)


def _commit(sha: str | None, repo: Repo) -> str:
    if not _COMMIT.fullmatch(sha or ""):
        raise ModelError(f"The hub names no commit for {repo.id}, so nothing was fetched. Try again later.")
    return str(sha)


def _matching(names: Iterable[str], patterns: Sequence[str]) -> list[str]:
    return [name for name in names if any(fnmatch(name, pattern) for pattern in patterns)]


def pull(plan: Plan, on_progress: OnProgress = no_progress, endpoint: str | None = None) -> None:
    """Fetches what is missing. Call it again to resume an interrupted pull.

    `on_progress` counts bytes; raising from it ends the pull.

    Raises:
        ModelError: no room on the disk, the hub cannot be reached, or a file is not what the hub says it is.
    """
    if plan.size + RESERVE > plan.free:
        raise ModelError(
            f"The download needs {_gigabytes(plan.size)} and the disk of {hub_cache()} has {_gigabytes(plan.free)} "
            "left (1 GB of it stays free). Make room, or set HF_HOME to a folder on a larger disk."
        )
    done, total = 0, max(1, plan.size)
    for wanted in (f for f in plan.files if not f.cached):
        message = f"{wanted.repo.id}: {wanted.name}"
        on_progress(done, total, message)
        with _hub_errors(wanted.repo):
            _fetch(
                wanted,
                endpoint,
                lambda at, begun=done, words=message: on_progress(min(total, begun + at), total, words),
            )
        done += wanted.size
    pin(plan.files)
    on_progress(total, total, "fetched")


def _fetch(wanted: Wanted, endpoint: str | None, on_bytes: Callable[[int], None]) -> None:
    """Fetches one file into the cache. huggingface_hub discards an interrupted download; here weights go on."""
    from huggingface_hub import get_hf_file_metadata, hf_hub_download, hf_hub_url
    from huggingface_hub.file_download import http_get
    from huggingface_hub.utils import build_hf_headers

    id, cache = wanted.repo.id, hub_cache()
    url = hf_hub_url(id, wanted.name, revision=wanted.commit, endpoint=endpoint)
    metadata = get_hf_file_metadata(url, endpoint=endpoint)
    if _SHA256.fullmatch(metadata.etag or ""):  # of a large file; small ones have git's SHA-1
        blobs = cache / f"models--{id.replace('/', '--')}" / "blobs"
        blobs.mkdir(parents=True, exist_ok=True)
        blob = blobs / str(metadata.etag)
        part = blobs / f"{metadata.etag}.part"
        with FileLock(f"{part}.lock"):
            if not blob.exists():
                with part.open("ab") as file:
                    got = file.tell()
                    http_get(
                        url,
                        file,
                        resume_size=got,
                        headers=build_hf_headers(),
                        expected_size=metadata.size,
                        tqdm_class=_bar(on_bytes),
                    )
                _check_sum(part, blob.name, wanted)
                part.replace(blob)
    path = hf_hub_download(
        id, wanted.name, revision=wanted.repo.revision, cache_dir=cache, endpoint=endpoint, tqdm_class=_bar(on_bytes)
    )
    _check_sum(Path(path), Path(path).resolve().name, wanted)


def _bar(on_bytes: Callable[[int], None]) -> Any:
    """Makes a silent progress bar, huggingface_hub's only way to tell how many bytes of a file are there."""
    from huggingface_hub.utils import tqdm

    class Bar(tqdm):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            self.at = int(kwargs.get("initial", 0) or 0)
            super().__init__(*args, **(kwargs | {"disable": True}))

        def update(self, n: float | None = 1) -> bool | None:
            self.at += int(n or 0)
            on_bytes(self.at)
            return None

    return Bar


def _check_sum(path: Path, expected: str, wanted: Wanted) -> None:
    """Checks the file, by SHA-256 where it is large, by git's SHA-1 where small, and deletes a wrong one."""
    if _SHA256.fullmatch(expected):
        digest = hashlib.sha256()
    else:
        digest = hashlib.sha1(b"blob %d\0" % path.stat().st_size, usedforsecurity=False)
    with path.open("rb") as file:
        while data := file.read(1 << 22):
            digest.update(data)
    if digest.hexdigest() != expected:
        path.resolve().unlink()
        path.unlink(missing_ok=True)
        raise ModelError(
            f"{wanted.name} of {wanted.repo.id} arrived damaged (its checksum is wrong), so it was thrown away. Pull "
            "again; if it happens twice, something between here and the hub changes files."
        )


class _hub_errors:
    """Turns what goes wrong with the hub into a ModelError with a message for the user."""

    def __init__(self, repo: Repo) -> None:
        self.repo = repo

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if error is None:
            return
        import httpx2
        from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError, RevisionNotFoundError

        if not isinstance(error, OSError | ValueError | httpx2.HTTPError):
            return
        id = self.repo.id
        if isinstance(error, GatedRepoError):
            words = f"{id} asks for its licence to be accepted: do that on its page, then `hf auth login`."
        elif isinstance(error, RevisionNotFoundError):
            words = f"{id} has no revision '{self.repo.revision}'. Leave out what follows the @."
        elif isinstance(error, RepositoryNotFoundError):
            words = f"The hub has no model '{id}' (or it is private: `hf auth login`). Check the spelling."
        elif isinstance(error, OSError) and error.errno == 28:
            words = f"The disk of {hub_cache()} is full. Make room, or set HF_HOME to a folder on a larger disk."
        else:
            first = (str(error) or type(error).__name__).splitlines()[0]
            words = f"{id} could not be fetched: {first}. Check the connection and pull again: it resumes."
        raise ModelError(words) from error


def _gigabytes(size: int) -> str:
    return f"{size / 1e9:.1f} GB"
