"""Make a Bevy game ready to show what is deployed: show the changes as a diff first, then write them.

Adds the plugin's two files and the line that uses it, a cargo feature and two small crates, crisp sampling,
`dgx-pixels.toml`, and `.dgx-pixels/` to .gitignore. The plugin is added whole or not at all: where one file has a form
that is not understood, none of them changes and the lines to paste are given instead.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pipelines.files import TEXT_LIMIT, read_bytes
from pipelines.text_files import encode_like, read_text
from server.deploy.bevy.changes import check_places, write_all
from server.deploy.bevy.detect import DEV_FILE, PLUGIN_FILE, BevyProject, detect
from server.deploy.bevy.diff import git_diff
from server.deploy.bevy.doctor import TESTED
from server.deploy.bevy.manifest import CannotEdit, with_plugin
from server.deploy.bevy.roots import Unusual, find_root
from server.project.game import STATE_FOLDER, Project
from server.project.style import STYLE_FILE

STYLE = """\
# How this game's art looks. Everything that is made for the game uses this file; docs/project.md has all keys.
colors = 16
size = 32
tile_size = 16
"""

Files = dict[Path, tuple[str | None, str]]
"""path -> (old text or None, new text)."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What would change. `by_hand`: what the user has to do."""

    root: Path
    files: Files
    by_hand: tuple[str, ...]

    def diff(self) -> str:
        """Returns the changes as a diff that `git apply` takes in the game's root; empty where nothing is missing."""
        return "".join(
            git_diff(path.relative_to(self.root).as_posix(), *_as_written(path, old, new))
            for path, (old, new) in self.files.items()
        )

    def apply(self) -> Callable[[], None]:
        """Writes the files. Where one cannot be written, those before it are restored.

        Returns:
            The function that takes all of it back, byte for byte.

        Raises:
            LibraryError, OSError: the disk refuses.
        """
        return write_all({path: new for path, (_, new) in self.contents().items()})

    def contents(self) -> dict[Path, tuple[bytes | None, bytes]]:
        """Returns what each file holds before and after, as bytes: it keeps its encoding and its line ends."""
        found: dict[Path, tuple[bytes | None, bytes]] = {}
        for path, (_, new) in self.files.items():
            before = read_bytes(path, TEXT_LIMIT) if path.is_file() else None
            found[path] = (before, encode_like(new, before or b""))
        return found


def _as_written(path: Path, old: str | None, new: str) -> tuple[str | None, str]:
    """Gives two texts the file's line ends and byte order mark; UTF-16 stays, since git takes it as binary."""
    if old is None:
        return None, new
    before = read_bytes(path, TEXT_LIMIT)
    try:
        return before.decode(), encode_like(new, before).decode()
    except UnicodeDecodeError:
        return old, new


def plugin_folder() -> Path:
    """Returns where the plugin's two files are: in the package or, in a checkout, in the example game.

    Raises:
        FileNotFoundError: in neither.
    """
    here = Path(__file__).parent
    for folder in (here, here.parents[2] / "bevy_example/src"):
        if (folder / PLUGIN_FILE).is_file() and (folder / DEV_FILE).is_file():
            return folder
    raise FileNotFoundError(f"{PLUGIN_FILE} is missing from this installation of dgx-pixels; install it again.")


def plugin_source(name: str = PLUGIN_FILE) -> str:
    """Returns the text of a half of the plugin."""
    return (plugin_folder() / name).read_text(encoding="utf-8")


def plan(project: Project) -> Plan:
    """Lists what the game lacks. Changes nothing.

    Raises:
        ProjectError: a file or folder that would be written is a symbolic link out of the game.
    """
    bevy = detect(project)
    files: Files = {}
    by_hand: list[str] = []
    assets = _style(project, bevy, files)
    _gitignore(project, files)
    if not (assets.is_dir() and any(assets.iterdir())):
        files[assets / ".gitkeep"] = (None, "")
    if bevy.minor in TESTED:
        try:
            files |= _plugin(project, bevy)
        except (CannotEdit, Unusual) as why:
            by_hand.append(_lines(project, why))
    else:
        by_hand.append(
            f"The dev plugin is for Bevy {_tested()}, the game has {bevy.version or 'none'}: it is left out. "
            'Switch on hot reload yourself: bevy = { ..., features = ["file_watcher"] }.'
        )
    check_places(project.root, files)
    return Plan(project.root, {p: change for p, change in files.items() if change[0] != change[1]}, tuple(by_hand))


def _tested() -> str:
    return " and ".join(f"0.{minor}" for minor in TESTED)


def _lines(project: Project, why: Exception) -> str:
    return (
        f"{why} The plugin was not added. To add it by hand, copy {PLUGIN_FILE} and {DEV_FILE} from {plugin_folder()} "
        f"into {project.root / 'src'}, then add to Cargo.toml:\n"
        '[features]\ndefault = ["dgx_pixels_dev"]\ndgx_pixels_dev = ["bevy/bevy_remote", "bevy/file_watcher"]\n'
        '[dependencies]\nserde = { version = "1", features = ["derive"] }\nserde_json = "1"\n'
        "and to the crate's root file `mod dgx_pixels;`, and after DefaultPlugins (and after RemotePlugin, if the game "
        "adds its own): `.add_plugins(dgx_pixels::DgxPixelsPlugin)`."
    )


def _old(root: Path, path: Path) -> str | None:
    """Returns the file's text; None where there is none."""
    check_places(root, (path,))
    return read_text(path, str(path)) if path.is_file() else None


def _style(project: Project, bevy: BevyProject, files: Files) -> Path:
    """Adds the style file where there is none. Returns the folder that the game reads its assets from."""
    path = project.root / STYLE_FILE
    if path.is_file():
        return project.assets
    folder = bevy.assets_folder
    hidden = any(part.startswith(".") for part in folder.split("/"))
    if not folder or hidden or (project.root / folder) == project.assets:
        files[path] = (None, STYLE)
        return project.assets
    files[path] = (None, f'{STYLE}\n[folders]\nassets = "{folder}"\n')
    return project.root / folder


def _gitignore(project: Project, files: Files) -> None:
    path = project.root / ".gitignore"
    old = _old(project.root, path) or ""
    if f"{STATE_FOLDER}/" not in old.splitlines():
        lead = old if not old or old.endswith("\n") else f"{old}\n"
        files[path] = (old or _old(project.root, path), f"{lead}{STATE_FOLDER}/\n")


def _plugin(project: Project, bevy: BevyProject) -> Files:
    """Returns the files of the plugin, all of them.

    Raises:
        CannotEdit, Unusual: one of the game's files has a form that is not understood.
    """
    files: Files = {}
    manifest = _old(project.root, bevy.manifest) or ""
    files[bevy.manifest] = (manifest, with_plugin(manifest))
    folder = (bevy.plugin_file or project.root / "src" / PLUGIN_FILE).parent
    for name in (PLUGIN_FILE, DEV_FILE):
        files[folder / name] = (_old(project.root, folder / name), plugin_source(name))
    if not bevy.says(r"DgxPixelsPlugin"):
        root = find_root(project.root)
        for path, new in root.with_plugin(folder / PLUGIN_FILE).items():
            files[path] = (_old(project.root, path), new)
    return files
