"""Find where a game adds DefaultPlugins, and add the plugin there, in tokens of Rust and not in its text."""

from __future__ import annotations

from dataclasses import dataclass
from os.path import relpath
from pathlib import Path

from pipelines.errors import TextError
from pipelines.text_files import read_text
from server.deploy.bevy.detect import is_own
from server.deploy.bevy.rust_source import NotRust, Token, calls, first_item, in_macro, tokens

MOST_BYTES = 1 << 18
"""Of a source file that is changed: a person's file that adds plugins has a tenth of it."""
REMOTE = ("RemotePlugin", "RemoteHttpPlugin", "BrpExtrasPlugin")
"""Plugins that must be added before ours: it adds them where the game has not."""


class Unusual(Exception):
    """The sources have a form that is left to the user; the message says why."""


@dataclass(frozen=True, slots=True)
class Source:
    """One file of the game, read and split into tokens."""

    path: Path
    text: str
    code: list[Token]

    def has(self, *words: str) -> bool:
        """Returns whether one of the words stands in the file's code."""
        return any(token.kind == "word" and token.text in words for token in self.code)


@dataclass(frozen=True, slots=True)
class Root:
    """A crate's root file, and the file that adds DefaultPlugins: often the same."""

    root: Source
    adds: Source

    def with_plugin(self, plugin: Path) -> dict[Path, str]:
        """Returns the new texts, by path, with the plugin declared and added.

        Raises:
            Unusual: no place for it is safe.
        """
        if self.root.path == self.adds.path:
            return {self.root.path: _declare(_insert(self.adds, "dgx_pixels"), self.root.path, plugin)}
        return {
            self.root.path: _declare(self.root.text, self.root.path, plugin),
            self.adds.path: _insert(self.adds, "crate::dgx_pixels"),
        }


def find_root(game: Path) -> Root:
    """Finds the files to change.

    Raises:
        Unusual: no file adds DefaultPlugins, or several do, or it is not known which crate one belongs to.
    """
    paths = [path for path in sorted((game / "src").rglob("*.rs")) if is_own(game, path)]
    sources = [source for path in paths if (source := _read_if_needed(path))]
    found = [source for source in sources if _default_plugins(source)]
    if len(found) != 1:
        raise Unusual(
            "No file in src/ passes DefaultPlugins to add_plugins. In a new game write "
            "`App::new().add_plugins(DefaultPlugins).run();` into main.rs first, then run init-game again."
            if not found
            else f"Several files add DefaultPlugins: {', '.join(str(s.path.relative_to(game)) for s in found)}."
        )
    adds = found[0]
    remote = [s.path for s in sources if s.path != adds.path and s.has(*REMOTE) and s.path.name != "dgx_pixels_dev.rs"]
    if remote:
        raise Unusual(f"{remote[0].relative_to(game)} adds the remote protocol; the plugin must come after it.")
    candidates = [path for path in (game / "src/main.rs", game / "src/lib.rs") if path.is_file()]
    if adds.path in candidates or adds.path.parent == game / "src/bin" or adds.path.name == "main.rs":
        return Root(adds, adds)
    if len(candidates) != 1:
        raise Unusual(f"It is not clear which crate {adds.path.relative_to(game)} belongs to.")
    return Root(_read(candidates[0]), adds)


def _text(path: Path) -> str:
    try:
        return read_text(path, str(path), MOST_BYTES)
    except TextError as error:
        raise Unusual(str(error)) from error


def _read_if_needed(path: Path) -> Source | None:
    """Returns the file where it names one of the plugins that matter: no other is split into tokens."""
    return _read(path) if any(word in _text(path) for word in ("DefaultPlugins", *REMOTE)) else None


def _read(path: Path) -> Source:
    text = _text(path)
    try:
        return Source(path, text, tokens(text))
    except NotRust as error:
        raise Unusual(f"{path.name} could not be read as Rust: {error}") from error


def _default_plugins(source: Source) -> list[tuple[int, int]]:
    """Returns the calls of add_plugins that DefaultPlugins is passed to."""
    try:
        found = calls(source.code, "add_plugins")
    except NotRust as error:
        raise Unusual(f"{source.path.name} could not be read as Rust: {error}") from error
    return [
        (start, end)
        for start, end in found
        if not in_macro(source.code, start) and any(t.text == "DefaultPlugins" for t in source.code[start:end])
    ]


def _insert(source: Source, module: str) -> str:
    code, text = source.code, source.text
    defaults = _default_plugins(source)
    if len(defaults) != 1:
        raise Unusual(f"{source.path.name} adds DefaultPlugins {len(defaults)} times.")
    start, end = defaults[0]
    # ours comes after the game's own remote plugins
    after = max(
        [(start, end), *(c for c in calls(code, "add_plugins") if any(t.text in REMOTE for t in code[c[0] : c[1]]))],
        key=lambda call: call[1],
    )
    if source.has(*REMOTE) and after == (start, end) and not any(t.text in REMOTE for t in code[start:end]):
        mentioned = any(t.text in REMOTE and not _in_use(code, i) for i, t in enumerate(code))
        if mentioned:
            raise Unusual(f"{source.path.name} uses the remote protocol in a way that is not understood.")
    name, close = after
    line = text[text.rfind("\n", 0, code[name - 1].start) + 1 : code[name - 1].start]
    glue = f"\n{line}" if not line.strip() else ""
    edits = [(code[close].end, code[close].end, f"{glue}.add_plugins({module}::DgxPixelsPlugin)")]
    if not source.has("ImagePlugin"):
        word = next(t for t in code[start:end] if t.text == "DefaultPlugins")
        plugin = "ImagePlugin" if "prelude::*" in "".join(t.text for t in code) else "bevy::prelude::ImagePlugin"
        edits.append((word.end, word.end, f".set({plugin}::default_nearest())"))
    for left, right, new in sorted(edits, reverse=True):
        text = text[:left] + new + text[right:]
    return text


def _in_use(code: list[Token], index: int) -> bool:
    """Returns whether a word stands in a `use` declaration."""
    for at in range(index - 1, -1, -1):
        if code[at].text in (";", "fn", "impl", "struct"):
            return False
        if code[at].text == "use":
            return True
    return False


def _declare(text: str, root: Path, plugin: Path) -> str:
    """Adds `mod dgx_pixels;` before the first item, its attributes and its doc comments."""
    code = tokens(text)
    words = [token.text for token in code]
    if any(words[i : i + 2] == ["mod", "dgx_pixels"] for i in range(len(words))):
        return text
    line = "mod dgx_pixels;\n"
    if root.parent != plugin.parent:
        line = f'#[path = "{Path(relpath(plugin, root.parent)).as_posix()}"]\n{line}'
    at = first_item(text, code)
    follows = next((t.text for t in code if t.start >= at), "")
    return text[:at] + line + ("" if follows in ("mod", "#") else "\n") + text[at:]
