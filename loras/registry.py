"""Find LoRA files by name in one folder, which is read again when a file in it changes.

A file that is put there can be used immediately. A file that cannot be used is listed with the reason. Only headers are
read.
"""

from __future__ import annotations

import json
import re
import threading
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loras.files import read_json, write_json
from pipelines.adapters.finite import check_finite
from pipelines.errors import AdapterError, report
from pipelines.files import check_lora, user_path
from pipelines.visible import clipped, visible

if TYPE_CHECKING:
    from watchdog.observers.api import BaseObserver

CHECKED = ".checked.json"
"""File name -> [mtime in ns, size] of the files whose weights are known to be finite: reading all takes 1 s per GB."""
_PARTS = re.compile(r"^\.|\.(part|tmp|crdownload|download)$")


@dataclass(frozen=True, slots=True)
class LoraInfo:
    """One LoRA; what the file does not say is empty or 0.

    `state` is available, broken, or other_model (`base` names its family). `note` says why it cannot be used, or what
    of it is left out.
    """

    name: str
    path: Path
    state: str
    note: str = ""
    rank: int = 0
    components: tuple[str, ...] = ()
    base: str = ""
    base_hash: str = ""
    trigger: str = ""
    licence: str = ""
    megabytes: float = 0.0


class Registry:
    """The LoRAs in a folder (it need not exist yet). Every method may be called from any thread."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lock = threading.Lock()
        self._read: dict[Path, tuple[tuple[int, int], LoraInfo]] = {}
        self._finite: dict[str, Any] = read_json(folder / CHECKED)
        self._listed: list[LoraInfo] | None = None
        self._observer: BaseObserver | None = None

    def list(self) -> list[LoraInfo]:
        """Returns all LoRAs, by name. While the folder is watched, it is read only after a change."""
        with self._lock:
            if self._listed is None or self._observer is None:
                found = self.folder.iterdir() if self.folder.is_dir() else ()
                files = sorted(file for file in found if file.suffix.lower() == ".safetensors")
                listed = [self.read_file(f) for f in files if not _PARTS.search(f.name)]
                self._read = {i.path: self._read[i.path] for i in listed if i.path in self._read}
                self._listed = listed
            return list(self._listed)

    def find(self, name: str, *, any_family: bool = False) -> LoraInfo:
        """Returns the LoRA of that name, or of that path. Always looks at the file itself.

        Args:
            name: a name in the folder, or a path.
            any_family: also one for another kind of model than SDXL.

        Raises:
            AdapterError: there is none, or it is broken.
            FileError: it is a path that the request's user may not read.
        """
        path = self._path(name)
        if "/" in name or "\\" in name:
            check_lora(name)
            path = user_path(name)
        if not path.is_file():
            known = ", ".join(i.name for i in self.list() if i.state == "available") or "none yet"
            raise AdapterError(
                f"There is no LoRA '{name}'. Known: {known}. Put its .safetensors file into {self.folder}, or train "
                "one with train_lora."
            )
        with self._lock:
            info = self.read_file(path)
        if info.state != "available" and not (any_family and info.state == "other_model"):
            raise AdapterError(info.note)
        return info

    def _path(self, name: str) -> Path:
        """Returns where the LoRA called `name` lies; its ending may be in capitals."""
        stem = name[: -len(".safetensors")] if name.lower().endswith(".safetensors") else name
        path = self.folder / f"{stem}.safetensors"
        return path if path.is_file() else next((i.path for i in self.list() if i.name == stem), path)

    def watch(self) -> None:
        """Watches the folder from now on (made where it is missing), so that `list` costs nothing without a change."""
        from watchdog.events import FileSystemEvent, FileSystemEventHandler
        from watchdog.observers import Observer

        registry = self

        class Handler(FileSystemEventHandler):
            def on_any_event(self, event: FileSystemEvent) -> None:
                # `list` writes CHECKED into the folder itself, which must not make it read everything again.
                paths = (str(event.src_path), str(event.dest_path))
                changes = ("created", "modified", "moved", "deleted", "closed")
                if event.event_type in changes and any(p.lower().endswith(".safetensors") for p in paths):
                    registry._changed()

        with self._lock:
            if self._observer is not None:
                return
            self.folder.mkdir(parents=True, exist_ok=True)
            observer = Observer()
            observer.schedule(Handler(), str(self.folder))
            observer.start()
            self._observer, self._listed = observer, None

    def close(self) -> None:
        """Ends the watching."""
        with self._lock:
            observer, self._observer = self._observer, None
        if observer is not None:
            observer.stop()
            observer.join(timeout=5)

    def _changed(self) -> None:
        with self._lock:
            self._listed = None

    def read_file(self, path: Path) -> LoraInfo:
        try:
            stat = path.stat()
        except OSError as error:
            return LoraInfo(path.stem, path, "broken", f"{path.name} cannot be read: {error.strerror}.")
        signature = (stat.st_mtime_ns, stat.st_size)
        if path not in self._read or self._read[path][0] != signature:
            self._read[path] = signature, self._examined(path, signature)
        return self._read[path][1]

    def _examined(self, path: Path, signature: tuple[int, int]) -> LoraInfo:
        """Reads the header and checks that all weights are numbers. A bad file is listed with its fault."""
        try:
            info = read_lora(path)
            if info.state == "available" and self._finite.get(path.name) != list(signature):
                check_finite(path)
                self._finite[path.name] = list(signature)
                with suppress(OSError):  # then the weights are looked at again after the next start
                    write_json(self.folder / CHECKED, self._finite)
        except Exception as error:
            return LoraInfo(path.stem, path, "broken", report(error))
        return info


def read_lora(path: Path) -> LoraInfo:
    """Reads a file's header. Never raises: what is wrong stands in the note."""
    from pipelines.adapters.families import OtherFamilyError
    from pipelines.adapters.keys import read_header

    try:
        header = read_header(path)
    except OtherFamilyError as error:
        return LoraInfo(path.stem, path, "other_model", str(error), base=error.family)
    except AdapterError as error:
        return LoraInfo(path.stem, path, "broken", str(error))
    own = _json(header.metadata.get("dgx_pixels", ""))
    return LoraInfo(
        name=path.stem,
        path=path,
        state="available",
        note=header.note,
        rank=max(header.ranks, default=0),
        components=header.components,
        base=_text(own.get("base") or header.metadata.get("ss_base_model_version")),
        base_hash=_text(own.get("base_hash")),
        trigger=_text(own.get("trigger") or header.metadata.get("modelspec.trigger_phrase")),
        licence=_text(own.get("licence") or header.metadata.get("modelspec.license")),
        megabytes=round(path.stat().st_size / 1e6, 1),
    )


def _json(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text) if text else {}
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _text(value: object) -> str:
    """Returns a text of the file's metadata, short and without control characters; empty where it is not text."""
    return clipped(visible(value), 200) if isinstance(value, str) else ""
