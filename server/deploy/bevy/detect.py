"""Read facts about a Bevy project: versions, features, and the use of assets and remote protocol in its sources.

Reads Cargo.toml (workspaces too), Cargo.lock and the crate's own .rs files; runs nothing and writes nothing.
`server.project.game` finds the game, `server.deploy.bevy.doctor` advises.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipelines.errors import FileError, TextError
from pipelines.files import read_bytes
from pipelines.text_files import read_text
from server.library.rows import clip
from server.project.game import Project

MSRV = {15: "1.82", 16: "1.85", 17: "1.88", 18: "1.89", 19: "1.95", 20: "1.97.1"}
"""The Rust that each Bevy 0.x needs at least."""

PLUGIN_FILE = "dgx_pixels.rs"
DEV_FILE = "dgx_pixels_dev.rs"
"""The two halves of the plugin: what ships with the game, and what a debug build adds."""
# a comment that does not end reaches to the file's end: looking for its end from every `/*` would take hours
_COMMENT = re.compile(r"//[^\n]*|/\*.*?(?:\*/|\Z)", re.DOTALL)
_ASSETS = re.compile(r'file_path\s*:\s*"([\w./ -]{1,200})"')
_MOST_SOURCE_BYTES = 8 << 20


@dataclass(frozen=True, slots=True)
class BevyProject:
    """What was found. `version` is exact where there is a lock file, else what Cargo.toml asks for; empty: no Bevy."""

    manifest: Path
    version: str
    locked: bool
    features: frozenset[str]
    extras: str
    plugin_file: Path | None
    plugin_protocol: int
    sources: str
    """The crate's sources without comments."""

    @property
    def minor(self) -> int:
        """The 19 of 0.19.1; 0 where it is not known."""
        found = re.search(r"0\.(\d+)", self.version)
        return int(found[1]) if found else 0

    def has(self, *features: str) -> bool:
        """Returns whether one of the features is on, by itself or through one that holds it."""
        return bool(self.features & {*features, *(whole for f in features for whole in _PART_OF.get(f, ()))})

    @property
    def assets_folder(self) -> str:
        """The folder of AssetPlugin.file_path, relative to the game's root; empty where the sources name none."""
        found = _ASSETS.search(self.sources)
        return found[1].strip("./") if found else ""

    def says(self, pattern: str) -> bool:
        """Returns whether the sources match the regular expression."""
        return re.search(pattern, self.sources) is not None


_BEVY = ("bevy", "bevy_internal", "bevy_asset", "bevy_image", "bevy_remote")

# Collections that Bevy 0.18 and later know.
_PART_OF = {"file_watcher": ("dev",)}


def detect(project: Project) -> BevyProject:
    """Reads the project. A file that cannot be read counts as empty: the doctor says what is missing."""
    manifest = project.root / "Cargo.toml"
    own = _toml(manifest)
    workspace = next((found for found in map(_toml, _above(manifest)) if "workspace" in found), own)
    shared = table(table(workspace.get("workspace")).get("dependencies"))
    lock = next(
        (
            path.parent / "Cargo.lock"
            for path in (manifest, *_above(manifest))
            if (path.parent / "Cargo.lock").is_file()
        ),
        None,
    )
    locked = _locked(_toml(lock)) if lock else {}
    dependencies = dict(_dependencies(own, shared))
    extras = locked.get("bevy_brp_extras") or str(dependencies.get("bevy_brp_extras", {}).get("version", ""))
    asked = dependencies.get("bevy") or dependencies.get("bevy_internal") or dependencies.get("bevy_asset") or {}
    version = locked.get("bevy") or locked.get("bevy_asset") or str(asked.get("version", "")).lstrip("=^~ ")
    found = sorted(project.root.glob(f"src/**/{PLUGIN_FILE}"))
    plugin = next((path for path in found if is_own(project.root, path)), None)
    return BevyProject(
        manifest=manifest,
        version=clip(version),
        locked=bool(locked.get("bevy") or locked.get("bevy_asset")),
        features=frozenset(_features(own, dependencies)),
        extras=clip(extras),
        plugin_file=plugin,
        plugin_protocol=_protocol(plugin),
        sources=_sources(project.root),
    )


def _protocol(plugin: Path | None) -> int:
    """Returns the version that a copy of the plugin speaks, in either half; until version 1 it was one file."""
    halves = (plugin, plugin.with_name(DEV_FILE)) if plugin else ()
    return max((protocol_of(_source(h)) for h in halves if h.is_file() and not h.is_symlink()), default=0)


def protocol_of(plugin: str) -> int:
    """Returns the version that a copy of the dev plugin speaks; 0 where it does not say."""
    found = re.search(r"PROTOCOL: u32 = (\d{1,9})", plugin)
    return int(found[1]) if found else 0


def _above(manifest: Path) -> Iterator[Path]:
    for folder in manifest.parent.parents:
        if (folder / "Cargo.toml").is_file():
            yield folder / "Cargo.toml"


def is_own(root: Path, path: Path) -> bool:
    """Returns whether a path of the game leads to a place inside it, through symbolic links too."""
    return path.resolve().is_relative_to(root.resolve())


def table(value: Any) -> dict[str, Any]:
    """Returns the value where it is a table; empty where the file holds something else in its place."""
    return value if isinstance(value, dict) else {}


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _toml(path: Path) -> dict[str, Any]:
    if path.is_symlink() and not is_own(path.parent, path):
        return {}
    try:
        return tomllib.loads(read_text(path))
    except (OSError, ValueError, TextError, RecursionError):
        return {}


def _locked(lock: Mapping[str, Any]) -> dict[str, str]:
    packages = (package for package in _listed(lock.get("package")) if isinstance(package, dict))
    return {str(package.get("name")): str(package.get("version")) for package in packages}


def _dependencies(manifest: Mapping[str, Any], shared: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yields each dependency's name and table, of the crate itself and of its targets, with what the workspace adds."""
    for part in (manifest, *table(manifest.get("target")).values()):
        for key, value in table(table(part).get("dependencies")).items():
            entry = {"version": value} if isinstance(value, str) else table(value)
            if entry.get("workspace"):
                said = shared.get(key)
                common: dict[str, Any] = {"version": said} if isinstance(said, str) else table(said)
                features = [*_listed(common.get("features")), *_listed(entry.get("features"))]
                entry = {**common, **entry, "features": features}
            yield str(entry.get("package", key)), entry


def _features(manifest: Mapping[str, Any], dependencies: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """Yields Bevy's features that are on, those too that a feature of the game passes on ("bevy/file_watcher")."""
    for name, entry in dependencies.items():
        if name in _BEVY:
            if name == "bevy" and entry.get("default-features", entry.get("default_features", True)):
                yield "default"
            yield from (str(feature) for feature in _listed(entry.get("features")))
            if name == "bevy_remote":
                yield "bevy_remote"
    for passed in table(manifest.get("features")).values():
        for feature in _listed(passed):
            if isinstance(feature, str) and re.match(r"bevy(_\w+)?\??/", feature):
                yield feature.split("/", 1)[1]


def _sources(root: Path) -> str:
    texts: list[str] = []
    size = 0
    for path in sorted((root / "src").rglob("*.rs")):
        if path.name in (PLUGIN_FILE, DEV_FILE) or size > _MOST_SOURCE_BYTES or not is_own(root, path):
            continue
        text = _source(path)
        size += len(text)
        texts.append(_COMMENT.sub(" ", text))
    return "\n".join(texts)


def _source(path: Path) -> str:
    """Returns a Rust file's text; empty where it cannot be read."""
    try:
        return read_bytes(path, _MOST_SOURCE_BYTES).decode(errors="replace")
    except (OSError, FileError):
        return ""
