"""Makes a Bevy game ready to show what is deployed: the changes as text first, then, when agreed to, the files.

Adds Bevy's features and two small crates to Cargo.toml, the dev plugin's file and the lines that use it, crisp
sampling, `dgx-pixels.toml`, and `.dgx-pixels/` to .gitignore. Every change of Cargo.toml is parsed again before it is
offered; what cannot be changed safely is given as lines to paste. Knows nothing of a running game.
"""

from __future__ import annotations

import difflib
import json
import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipelines.text_files import encode_like, read_text
from server.deploy.bevy.detect import PLUGIN_FILE, BevyProject, detect, protocol_of
from server.deploy.bevy.doctor import TESTED
from server.deploy.bevy.verify import PROTOCOL
from server.library.store import write_atomically
from server.project.game import STATE_FOLDER, STYLE_FILE, Project

FEATURES = ("bevy_remote", "file_watcher")
CRATES = {"serde": '{ version = "1", features = ["derive"] }', "serde_json": '"1"'}

_MOST_LINES = 30

STYLE = """\
# How this game's art looks. Everything that is made for the game goes through this file; docs/project.md has all keys.
colors = 16
size = 32
tile_size = 16
"""


@dataclass(frozen=True, slots=True)
class Plan:
    """What would change. `files`: path -> (old text or None, new text). `by_hand`: what the user has to do."""

    root: Path
    files: dict[Path, tuple[str | None, str]]
    by_hand: tuple[str, ...]

    def diff(self) -> str:
        """The changes as a unified diff, long files cut short; empty where nothing is missing."""
        parts: list[str] = []
        for path, (old, new) in self.files.items():
            name = path.relative_to(self.root).as_posix()
            before = "/dev/null" if old is None else f"a/{name}"
            diff = difflib.unified_diff((old or "").splitlines(), new.splitlines(), before, f"b/{name}", lineterm="")
            lines = list(diff) or [f"--- {before}", f"+++ b/{name}"]
            parts += lines[:_MOST_LINES]
            if len(lines) > _MOST_LINES:
                parts.append(f"... and {len(lines) - _MOST_LINES} more lines")
        return "\n".join(parts)

    def apply(self) -> None:
        """Writes the files, each in one step.

        Raises:
            LibraryError, OSError: the disk refuses.
        """
        for path, (_, new) in self.files.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            # the file keeps its encoding and its line ends
            write_atomically(path, encode_like(new, path.read_bytes() if path.is_file() else b""))


def plugin_source() -> str:
    """The dev plugin's text, from the package or, in a checkout, from the example game."""
    here = Path(__file__).parent
    for path in (here / PLUGIN_FILE, here.parents[2] / "bevy_example" / "src" / PLUGIN_FILE):
        if path.is_file():
            return path.read_text(encoding="utf-8")
    raise FileNotFoundError(f"{PLUGIN_FILE} is missing from this installation of dgx-pixels; install it again.")


def plan(project: Project) -> Plan:
    """What the game lacks. Changes nothing."""
    bevy = detect(project)
    files: dict[Path, tuple[str | None, str]] = {}
    by_hand: list[str] = []
    _style(project, files)
    _gitignore(project, files)
    if not (project.assets.is_dir() and any(project.assets.iterdir())):
        files[project.assets / ".gitkeep"] = (None, "")
    if bevy.minor in TESTED:
        _manifest(bevy, files, by_hand)
        _plugin(project, bevy, files)
        _main(project, bevy, files, by_hand)
    else:
        by_hand.append(
            f"The dev plugin is written for Bevy 0.19, the game has {bevy.version or 'none'}: it is left out. "
            'Switch on hot reload yourself: bevy = { ..., features = ["file_watcher"] }.'
        )
    return Plan(project.root, {p: change for p, change in files.items() if change[0] != change[1]}, tuple(by_hand))


def _old(path: Path) -> str | None:
    return read_text(path, str(path)) if path.is_file() else None


def _style(project: Project, files: dict[Path, tuple[str | None, str]]) -> None:
    if not (path := project.root / STYLE_FILE).is_file():
        files[path] = (None, STYLE)


def _gitignore(project: Project, files: dict[Path, tuple[str | None, str]]) -> None:
    path = project.root / ".gitignore"
    old = _old(path)
    if f"{STATE_FOLDER}/" not in (old or "").splitlines():
        files[path] = (old, f"{_with_newline(old or '')}{STATE_FOLDER}/\n")


def _with_newline(text: str) -> str:
    return text if not text or text.endswith("\n") else f"{text}\n"


def _plugin(project: Project, bevy: BevyProject, files: dict[Path, tuple[str | None, str]]) -> None:
    path = bevy.plugin_file or project.root / "src" / PLUGIN_FILE
    old = _old(path)
    if old is None or protocol_of(old) != PROTOCOL:
        files[path] = (old, plugin_source())


def _manifest(bevy: BevyProject, files: dict[Path, tuple[str | None, str]], by_hand: list[str]) -> None:
    from tomlkit.exceptions import TOMLKitError

    old = read_text(bevy.manifest, str(bevy.manifest))
    new = old
    missing = [feature for feature in FEATURES if not bevy.has(feature)]
    declared = tomllib.loads(old).get("dependencies", {})
    try:
        if missing:
            new = add_features(new, missing)
        for crate, value in CRATES.items():
            if crate not in declared:
                new = _add_crate(new, crate, value)
        parsed = tomllib.loads(new)
        entry = parsed["dependencies"]["bevy"]
        good = all(crate in parsed["dependencies"] for crate in CRATES) and (
            not missing or set(missing) <= set(entry["features"])
        )
    except (tomllib.TOMLDecodeError, TOMLKitError, KeyError, TypeError, AttributeError):
        good = False
    if good:
        files[bevy.manifest] = (old, new)
    else:
        by_hand.append(
            f"In {bevy.manifest}: give bevy the features {', '.join(FEATURES)}, and add to [dependencies]:\n"
            + "\n".join(f"{crate} = {value}" for crate, value in CRATES.items() if crate not in declared)
        )


def add_features(manifest: str, features: list[str]) -> str:
    """Cargo.toml's text with more features for bevy, in whichever form the dependency is written.

    Raises:
        KeyError, TypeError, tomlkit.exceptions.TOMLKitError: there is no such dependency, or the text is not TOML.
    """
    import tomlkit
    from tomlkit.items import InlineTable

    document = tomlkit.parse(manifest)
    dependencies: Any = document["dependencies"]
    entry: Any = dependencies["bevy"]
    if not isinstance(entry, str) and "features" in entry:
        for feature in features:
            entry["features"].append(feature)
    elif isinstance(entry, str | InlineTable):
        values: Any = {"version": entry} if isinstance(entry, str) else entry
        parts = [f"{key} = {tomlkit.item(value).as_string()}" for key, value in values.items()]
        dependencies["bevy"] = _item(f"{{ {', '.join([*parts, f'features = {json.dumps(features)}'])} }}")
    else:
        entry["features"] = features
    return tomlkit.dumps(document)


def _add_crate(manifest: str, crate: str, value: str) -> str:
    """The manifest's text with one more dependency; [dependencies] is made where there is none."""
    import tomlkit
    from tomlkit.items import Table

    document = tomlkit.parse(manifest)
    if "dependencies" not in document:
        document["dependencies"] = tomlkit.table()
    table: Any = document["dependencies"]
    trailing: list[Any] = []
    if isinstance(table, Table):  # the empty line and comments before the next table stay before it
        body = table.value.body
        while body and body[-1][0] is None:
            trailing.insert(0, body.pop())
        table[crate] = _item(value)
        body.extend(trailing)
    else:
        table[crate] = _item(value)
    return tomlkit.dumps(document)


def _item(value: str) -> Any:
    """A value with the spaces in which it is written here."""
    import tomlkit

    return tomlkit.parse(f"x = {value}\n")["x"]


def _main(project: Project, bevy: BevyProject, files: dict[Path, tuple[str | None, str]], by_hand: list[str]) -> None:
    path = project.root / "src/main.rs"
    old = _old(path)
    if bevy.says(r"DgxPixelsPlugin"):
        return
    new = None if old is None else add_plugin(old)
    if old is None or new is None:
        by_hand.append(
            "Add to the crate's root file: `mod dgx_pixels;`, and after DefaultPlugins: "
            "`.add_plugins(dgx_pixels::DgxPixelsPlugin)`."
        )
        return
    files[path] = (old, new)


def add_plugin(source: str) -> str | None:
    """A main.rs that adds the dev plugin after DefaultPlugins, and crisp sampling; None where its form is unusual."""
    found = re.search(r"\.\s*add_plugins\s*\([^;]*?\bDefaultPlugins\b", source)
    if not found:
        return None
    # The last add_plugins before DefaultPlugins is the one that adds it.
    start = source.rindex("add_plugins", 0, found.end())
    opening = source.index("(", start)
    closing = _closing(source, opening)
    if closing is None:
        return None
    call = source[opening : closing + 1]
    if "ImagePlugin" not in source:
        call = call.replace("DefaultPlugins", "DefaultPlugins.set(ImagePlugin::default_nearest())", 1)
    line = source[source.rfind("\n", 0, start) + 1 : start]
    glue = f"\n{line[: len(line) - len(line.lstrip())]}" if line.strip() == "." else ""
    added = f"{glue}.add_plugins(dgx_pixels::DgxPixelsPlugin)"
    return _declare(source[:opening] + call + added + source[closing + 1 :])


def _closing(source: str, opening: int) -> int | None:
    depth = 0
    for at in range(opening, len(source)):
        depth += {"(": 1, ")": -1}.get(source[at], 0)
        if depth == 0:
            return at
    return None


def _declare(source: str) -> str:
    """`mod dgx_pixels;` beside the other modules, or before the first `use` or item."""
    if re.search(r"(?m)^\s*(pub\s+)?mod dgx_pixels;", source):
        return source
    if modules := re.search(r"(?m)^mod \w+;", source):
        return f"{source[: modules.start()]}mod dgx_pixels;\n{source[modules.start() :]}"
    first = re.search(r"(?m)^(?!\s*$|//|#!|/\*)", source)
    at = first.start() if first else 0
    return f"{source[:at]}mod dgx_pixels;\n\n{source[at:]}"
