"""Watch a game's folder and turn files that are saved there into pictures in assets/.

Saving `name.sprite.json` draws its picture, saving `name.aseprite` imports its frames, and saving a palette file
repaints every deployed sprite that is locked to it, without drawing again. `.dgx-pixels/watch.json` keeps the state of
the files. `say` gets one line for each file; an error does not end the watch. Events come from watchdog, and a file is
read when it has not changed for QUIET seconds.
"""

from __future__ import annotations

import hashlib
import json
import os
import queue
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError

from pipelines.errors import FileError, explain, report
from pipelines.files import PICTURE_LIMIT, TEXT_LIMIT, read_bytes
from pipelines.invalid import explain_invalid
from pipelines.pixels.aseprite import is_aseprite
from pipelines.records import no_progress
from pipelines.text_files import decode_text
from server.features.recipes import of_the_game
from server.features.requests import SpriteRequest
from server.features.save import save_asset
from server.library.store import write_atomically
from server.project.game import STATE_FOLDER, Project

if TYPE_CHECKING:
    from watchdog.observers.api import ObservedWatch

    from server.library.records import Asset
    from server.studio import Studio

SUFFIX = ".sprite.json"
PALETTES = (".hex", ".gpl", ".pal", ".act")
ASEPRITE = (".aseprite", ".ase")
QUIET = 0.15
"""Seconds without a further event before a saved file is taken up: editors save in several steps."""
_SKIPPED = {STATE_FOLDER, "target", ".git", ".venv", "node_modules"}

Say = Callable[[str], None]


class SpriteFile(SpriteRequest):
    """What may stand in a `*.sprite.json`. `path` is relative to assets/; empty: by the style and the file's name."""

    path: str = ""


class Watch:
    """The watch over one game. `run` until `stop`; or `handle` single files, as a test does."""

    def __init__(self, studio: Studio, project: Project, say: Say) -> None:
        self.studio = studio
        self.project = project
        self.say = say
        self._changed: queue.SimpleQueue[Path] = queue.SimpleQueue()
        self._stopped = threading.Event()
        self._memory = project.state / "watch.json"
        self._seen: dict[str, str] = _read_memory(self._memory)

    def run(self, ready: Callable[[], None] = lambda: None) -> None:
        """Takes up what changed while nobody watched, then every save, until `stop`."""
        from watchdog.events import FileSystemEvent, FileSystemEventHandler
        from watchdog.observers import Observer

        changed, root = self._changed, self.project.root
        gone: queue.SimpleQueue[Path] = queue.SimpleQueue()

        class Handler(FileSystemEventHandler):
            def on_any_event(self, event: FileSystemEvent) -> None:
                path = Path(str(event.src_path))
                if event.event_type in ("deleted", "moved") and path.parent == root:
                    gone.put(path)
                if event.event_type in ("created", "modified", "moved", "closed"):
                    for place in filter(None, (event.src_path, event.dest_path)):
                        changed.put(Path(str(place)))

        observer, handler = Observer(), Handler()
        watched: dict[Path, ObservedWatch] = {}

        def look() -> None:
            """Watches what folders the game has by now, but not target/: a build there makes thousands of events."""
            while not gone.empty():  # also one that is there again: it is another folder
                if old := watched.pop(gone.get(), None):
                    observer.unschedule(old)
            for folder in _folders(root) - watched.keys():
                with suppress(OSError):  # gone again
                    watched[folder] = observer.schedule(handler, str(folder), recursive=True)
                for path in self.files(folder):
                    changed.put(path)

        observer.schedule(handler, str(root))
        observer.start()
        try:
            look()
            for path in self.files():
                self.handle(path)
            ready()
            self._take_up(look)
        finally:
            observer.stop()
            observer.join()

    def stop(self) -> None:
        """Ends `run` soon; may be called from any thread."""
        self._stopped.set()
        self._changed.put(self.project.root)

    def files(self, folder: Path | None = None) -> Iterator[Path]:
        """Yields each file of the game (or of a folder of it) that the watch answers to, sorted by path."""
        for path in sorted(_walked(folder or self.project.root)):
            if path.is_file() and self._is_ours(path):
                yield path

    def handle(self, path: Path) -> None:
        """Takes up one saved file: says what came of it in one line; nothing where its content is known."""
        name = path.relative_to(self.project.root).as_posix()
        try:
            if not path.resolve().is_relative_to(self.project.root):
                self.say(
                    f"{name}: a symbolic link that leads out of the game is not followed. Put a copy in its place."
                )
                return
            limit = PICTURE_LIMIT if path.suffix.lower() in ASEPRITE else TEXT_LIMIT
            content = read_bytes(path, limit, path.name)
            digest = hashlib.sha256(content).hexdigest()
            if self._seen.get(name, "").split(" ")[0] == digest:
                return
            if path.name.endswith(SUFFIX):
                line, note = self._draw(path, content), ""
            elif path.suffix.lower() in ASEPRITE and is_aseprite(content):
                line, note = self._import(path), ""
            elif path.suffix.lower() == ".aseprite":
                line, note = "this is not an Aseprite file; save it again in Aseprite", ""
            else:
                line, note = self._repaint(path, name)
        except ValidationError as error:
            self.say(f"{name}: {explain_invalid(error)}. Correct and save it again.")
        except FileNotFoundError:
            return  # saved under another name, or gone again
        except OSError as error:
            self.say(f"{name}: {explain(error, path)}")
        except Exception as error:  # one file never ends the watch
            self.say(f"{name}: {report(error)}")
        else:
            if line:
                self.say(f"{name}: {line}")
            self._remember(name, f"{digest} {note}".strip())

    def _take_up(self, look: Callable[[], None]) -> None:
        waiting: dict[Path, float] = {}
        while not self._stopped.is_set():
            try:
                path = self._changed.get(timeout=QUIET / 2 if waiting else None)
                if self.project.root in (path, path.parent):  # a folder came or went
                    look()
                if self._is_ours(path):
                    waiting[path] = time.monotonic()
            except queue.Empty:
                pass
            now = time.monotonic()
            for path in [p for p, at in waiting.items() if now - at >= QUIET]:
                del waiting[path]
                self.handle(path)

    def _is_ours(self, path: Path) -> bool:
        try:
            parts = path.relative_to(self.project.root).parts
        except ValueError:
            return False
        if any(part in _SKIPPED for part in parts[:-1]) or not parts:
            return False
        suffix = path.suffix.lower()
        return path.name.endswith(SUFFIX) or suffix in (*PALETTES, *ASEPRITE) or path == self.project.palette_file

    def _draw(self, path: Path, content: bytes) -> str:
        from server.deploy.deploy import deploy
        from server.features.sprites import generate_sprites

        started = time.perf_counter()
        wanted = SpriteFile.model_validate_json(decode_text(content, path.name))
        wanted = of_the_game(self.project, wanted, path.name)
        if wanted.seed is None:  # a seed from the name, so that the same file makes the same picture
            seed = int.from_bytes(hashlib.sha256(path.name.encode()).digest()[:4], "big") >> 1
            wanted = wanted.model_copy(update={"seed": seed})
        root = str(self.project.root)
        done = generate_sprites(self.studio, wanted, no_progress, project=root)
        place = wanted.path or _default_path(self.project, path)
        put = deploy(self.studio, done.sprites[0].asset.id, place, root, overwrite=True)
        unknown = f"; unknown words: {', '.join(done.unknown_words)}" if done.unknown_words else ""
        seconds = time.perf_counter() - started
        return f"{put.state} assets/{place} ({put.verification.state}, {seconds:.2f} s){unknown}"

    def _import(self, path: Path) -> str:
        """Puts the frames of an Aseprite file into the game: a sprite, or a sheet where there are several or tags."""
        from pipelines.pixels.png import read_frames
        from server.deploy.deploy import deploy
        from server.features.requests import SliceRequest
        from server.features.slices import slice_sheet

        started = time.perf_counter()
        root = str(self.project.root)
        place = _picture_path(self.project, path)
        # what somebody exported by hand stays: only a picture that was deployed from here is replaced
        ours = bool(self.studio.library(self.project).deployments(place, limit=1))
        moving = len(read_frames(path, limit=2)) > 1
        request = SliceRequest(picture=str(path), into="animation" if moving else "sprites")
        asset = slice_sheet(self.studio, request, project=root).assets[0]
        put = deploy(self.studio, asset.id, place, root, overwrite=ours)
        seconds = time.perf_counter() - started
        return f"{put.state} assets/{place} ({put.verification.state}, {seconds:.2f} s)"

    def _repaint(self, path: Path, name: str) -> tuple[str, str]:
        """Repaints what is deployed in the palette's colours of before; the note is its colours of now."""
        from pipelines.pixels.palette_files import read_palette
        from server.deploy.deploy import deploy

        palette = read_palette(path)
        note = ",".join(palette.hex)
        _, _, before = self._seen.get(name, "").partition(" ")
        if not before or before == note:
            return "", note
        old = tuple(before.split(","))
        library = self.studio.library(self.project)
        repainted, skipped = 0, 0
        newest: dict[str, str] = {}
        for deployment in library.deployments(limit=10_000):
            newest.setdefault(deployment.path, deployment.asset_id)
        for place, asset_id in newest.items():
            asset = library.get(asset_id)
            if asset.kind != "sprite" or asset.recipe.palette != old:
                skipped += 1
                continue
            fresh = self._in_palette(asset, old, palette.hex)
            deploy(self.studio, fresh.id, place, str(self.project.root), overwrite=True)
            repainted += 1
        return f"repainted {repainted} sprites ({skipped} others use another palette)", note

    def _in_palette(self, asset: Asset, old: tuple[str, ...], new: tuple[str, ...]) -> Asset:
        """Recolours the sprite: number by number where the palette kept its length, else to the nearest colour."""
        from dataclasses import replace

        from pipelines.pixels.palette import Palette
        from pipelines.pixels.png import read_picture
        from pipelines.sprites.edit import recolor, repaint

        library = self.studio.library(self.project)
        image = read_picture(library.read(asset))
        changed = {a: b for a, b in zip(old, new, strict=False) if a != b}
        palette = Palette.from_hex(list(new))
        used = set(asset.details.get("palette", old))
        if len(old) == len(new) and used & changed.keys():
            image = recolor(image, asset.recipe, {a: b for a, b in changed.items() if a in used}).image
        sprite = repaint(image, asset.recipe, palette)
        recipe = replace(sprite.recipe, options=sprite.recipe.options | {"repainted_from": asset.id})
        kept = {name: value for name, value in asset.details.items() if name != "palette"}
        return save_asset(library, recipe, sprite.image, sprite.report, palette=palette, details=kept)

    def _remember(self, name: str, value: str) -> None:
        self._seen[name] = value
        try:
            self._memory.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(self._memory, json.dumps(self._seen, indent=0, sort_keys=True).encode())
        except OSError as error:
            self.say(explain(error, self._memory))


def _folders(root: Path) -> set[Path]:
    try:
        found = [path for path in root.iterdir() if path.is_dir() and not path.is_symlink()]
    except OSError:  # the game itself is gone
        return set()
    return {path for path in found if path.name not in _SKIPPED}


def _walked(folder: Path) -> Iterator[Path]:
    for at, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if name not in _SKIPPED]
        yield from (Path(at) / name for name in names)


def _default_path(project: Project, path: Path) -> str:
    from workflows.inputs import file_word

    folder = project.style.folders.sprites
    name = f"{file_word(path.name.removesuffix(SUFFIX))}.png"
    return f"{folder}/{name}" if folder else name


def _picture_path(project: Project, path: Path) -> str:
    """Returns where an Aseprite file's picture goes: beside it inside assets/, else into the folder for sprites."""
    from workflows.inputs import distinct_paths

    if path.is_relative_to(project.assets):
        inside = path.relative_to(project.assets).with_suffix("").as_posix()
        return f"{distinct_paths([inside])[0]}.png"
    return _default_path(project, path.with_name(f"{path.stem}{SUFFIX}"))


def _read_memory(path: Path) -> dict[str, str]:
    try:
        found = json.loads(read_bytes(path, TEXT_LIMIT))
        return {str(k): str(v) for k, v in found.items()}
    except (OSError, ValueError, AttributeError, FileError, RecursionError):
        return {}  # nothing was seen yet: every recipe is drawn, which changes nothing where it is the same
