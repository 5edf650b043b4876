"""Find what keeps a deployed picture from the screen of a Bevy game, in the order to fix it.

Reads the project and asks the running game, both through their own modules. Changes nothing; `init_game` does, when
asked. Each finding that is not fine holds the exact lines for the Bevy version at hand.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from server.deploy.bevy.brp import BrpError
from server.deploy.bevy.brp import shown as text_of
from server.deploy.bevy.detect import MSRV, BevyProject, detect
from server.deploy.bevy.verify import PROTOCOL, SPOKEN, look
from server.project.game import Project

TESTED = (19, 20)
"""The minors of Bevy that the example game and its tests are built with."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at. `state`: fine, advice (could be better) or broken (deploys will not show)."""

    topic: str
    state: str
    what: str
    change: str = ""
    """What to do; empty where it is fine."""
    lines: str = ""
    """The lines to put there, as they are."""


Check = Callable[[Project, BevyProject], Iterator[Finding]]


def examine(project: Project) -> list[Finding]:
    """Returns all findings in the order to fix them. Takes at most two seconds where a game hangs."""
    bevy = detect(project)
    checks: tuple[Check, ...] = (
        _version,
        _rust,
        _system,
        _assets,
        _watcher,
        _remote,
        _plugin,
        _pixels,
        _names,
        _running,
    )
    return [finding for check in checks for finding in check(project, bevy)]


def _version(_: Project, bevy: BevyProject) -> Iterator[Finding]:
    topic = "bevy"
    if not bevy.minor:
        yield Finding(
            topic, "broken", f"{bevy.manifest} names no Bevy version.", "Add Bevy to [dependencies].", 'bevy = "0.20"'
        )
    elif bevy.minor < 15:
        yield Finding(topic, "broken", f"Bevy {bevy.version} has no remote protocol.", "Update Bevy to 0.15 or later.")
    elif bevy.minor < 17:
        yield Finding(
            topic,
            "advice",
            f"Bevy {bevy.version} does not notice files that are moved into assets/; deploys touch them for it.",
            "Update Bevy to 0.17 or later for reloads of pictures that did not exist at the start.",
        )
    else:
        how = "Cargo.lock" if bevy.locked else "Cargo.toml"
        tested = "" if bevy.minor in TESTED else " (dgx-pixels is tested with 0.19 and 0.20)"
        yield Finding(topic, "fine", f"Bevy {bevy.version}, from {how}{tested}.")


def _rust(_: Project, bevy: BevyProject) -> Iterator[Finding]:
    needed = MSRV.get(bevy.minor)
    rustc = shutil.which("rustc")
    if not needed or not rustc:
        return
    try:
        # not in the game: rustup lets a rust-toolchain.toml in the working directory choose the program that runs
        said = subprocess.run(
            [rustc, "--version"], capture_output=True, text=True, timeout=5, check=False, cwd=Path(rustc).anchor or "/"
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return
    if found := re.search(r"rustc 1\.(\d+)", said):
        if int(found[1]) < int(needed.split(".")[1]):
            yield Finding(
                "rust",
                "broken",
                f"{said.strip()}; Bevy {bevy.version} needs {needed}.",
                "Update Rust.",
                "rustup update",
            )
        else:
            yield Finding("rust", "fine", f"{said.strip()}; Bevy {bevy.version} needs {needed}.")


def _system(_: Project, bevy: BevyProject) -> Iterator[Finding]:
    """Looks for ALSA's and udev's headers: on Linux, Bevy's remote protocol needs them since 0.20 (bevy_audio)."""
    if sys.platform != "linux" or bevy.minor < 20 or not bevy.has("bevy_remote", "bevy_audio"):
        return
    config = shutil.which("pkg-config")
    if config and subprocess.run([config, "--exists", "alsa", "libudev"], timeout=5, check=False).returncode == 0:
        return
    yield Finding(
        "system",
        "broken",
        f"Bevy {bevy.version} with the remote protocol does not build without the headers of ALSA and udev.",
        "Install them (names of Debian's packages).",
        "sudo apt-get install libasound2-dev libudev-dev pkg-config",
    )


def _assets(project: Project, bevy: BevyProject) -> Iterator[Finding]:
    topic = "assets"
    folder = bevy.assets_folder
    if folder and (project.root / folder).resolve() != project.assets.resolve():
        yield Finding(
            topic,
            "broken",
            f'The game reads "{folder}" (AssetPlugin.file_path), deploys go to {project.assets}.',
            "Name the game's folder in dgx-pixels.toml.",
            f'[folders]\nassets = "{folder}"',
        )
        return
    if not project.assets.is_dir():
        yield Finding(
            topic,
            "broken",
            f"The folder {project.assets} does not exist; a game that starts without it watches nothing.",
            "Make it before the game starts.",
            f"mkdir -p {project.assets}",
        )
        return
    yield Finding(topic, "fine", f"Deploys go to {project.assets}.")
    if kind := _foreign_mount(project.assets):
        yield Finding(
            topic,
            "advice",
            f"{project.assets} is on a {kind} mount, where changes made elsewhere are not noticed.",
            "Keep the dev plugin in the game: a deploy asks it to reload, also where the watcher sees nothing.",
        )
    if bevy.says(r"AssetMode::Processed"):
        yield Finding(
            topic,
            "fine",
            "The game processes its assets: sources go to assets/ all the same, the processor picks them up.",
        )


def _foreign_mount(folder: Path) -> str:
    """Returns the file system's type where inotify does not report what other machines write, else ''."""
    import psutil

    resolved = folder.resolve()
    mounts = [m for m in psutil.disk_partitions(all=True) if resolved.is_relative_to(m.mountpoint)]
    kind = max(mounts, key=lambda m: len(m.mountpoint)).fstype if mounts else ""
    return kind if kind in ("nfs", "nfs4", "cifs", "smb3", "9p", "drvfs", "fuse.sshfs", "vboxsf") else ""


def _watcher(_: Project, bevy: BevyProject) -> Iterator[Finding]:
    topic = "file_watcher"
    if bevy.says(r"watch_for_changes_override\s*:\s*Some\(\s*false"):
        yield Finding(
            topic,
            "broken",
            "AssetPlugin.watch_for_changes_override is Some(false): nothing reloads by itself.",
            "Remove that line from AssetPlugin.",
        )
    if bevy.has("file_watcher"):
        yield Finding(topic, "fine", "Bevy watches the assets folder (feature file_watcher).")
    else:
        yield Finding(
            topic,
            "broken",
            "Bevy's feature file_watcher is off: a changed file is shown only after the next start.",
            f"Add the feature in {bevy.manifest}.",
            f'bevy = {{ version = "0.{bevy.minor or 20}", features = ["file_watcher", "bevy_remote"] }}',
        )


def _remote(_: Project, bevy: BevyProject) -> Iterator[Finding]:
    topic = "bevy_remote"
    if not bevy.has("bevy_remote") and not bevy.extras:
        yield Finding(
            topic,
            "advice",
            "The game does not speak the Bevy Remote Protocol: deploys work, but cannot be proved.",
            f"Add the feature in {bevy.manifest}.",
            f'bevy = {{ version = "0.{bevy.minor or 20}", features = ["file_watcher", "bevy_remote"] }}',
        )
        return
    yield Finding(topic, "fine", "The Bevy Remote Protocol is compiled in.")
    adds_http = bevy.says(r"RemoteHttpPlugin|BrpExtrasPlugin|DgxPixelsPlugin")
    if not adds_http:
        yield Finding(
            topic,
            "broken",
            "Nothing in src/ adds RemoteHttpPlugin (RemotePlugin alone opens no port).",
            "Add the dev plugin (it brings both), or these lines after DefaultPlugins.",
            ".add_plugins((\n    bevy::remote::RemotePlugin::default(),\n"
            "    bevy::remote::http::RemoteHttpPlugin::default(),\n))",
        )


def _plugin(project: Project, bevy: BevyProject) -> Iterator[Finding]:
    topic = "dev plugin"
    command = f"dgx-pixels init-game {project.root}"
    if bevy.minor and bevy.minor not in TESTED:
        yield Finding(
            topic,
            "advice",
            f"The dev plugin is for Bevy 0.19 and 0.20; the game has {bevy.version}.",
            "Without it a deploy is proved by screenshot where bevy_brp_extras is there, else not at all.",
        )
    elif bevy.plugin_file is None:
        yield Finding(
            topic,
            "advice",
            "The game has no dev plugin: whether it shows a deployed picture cannot be proved.",
            "Let dgx-pixels add it; it shows what it would change first.",
            command,
        )
    elif bevy.plugin_protocol != PROTOCOL:
        yield Finding(
            topic,
            "advice" if bevy.plugin_protocol in SPOKEN else "broken",
            f"{bevy.plugin_file} has version {bevy.plugin_protocol}, this server brings {PROTOCOL}.",
            "Bring the file up to date.",
            command,
        )
    elif not bevy.says(r"DgxPixelsPlugin"):
        yield Finding(
            topic,
            "broken",
            f"{bevy.plugin_file} is there, but nothing adds it.",
            "Add it after DefaultPlugins, and `mod dgx_pixels;` to main.rs.",
            ".add_plugins(dgx_pixels::DgxPixelsPlugin)",
        )
    else:
        yield Finding(topic, "fine", f"The dev plugin is there ({bevy.plugin_file.name}, version {PROTOCOL}).")


def _pixels(_: Project, bevy: BevyProject) -> Iterator[Finding]:
    if bevy.says(r"default_nearest"):
        yield Finding("sampling", "fine", "Pixels stay crisp (ImagePlugin::default_nearest).")
    elif bevy.sources:
        yield Finding(
            "sampling",
            "advice",
            "Bevy smooths pictures by default: pixel art looks blurred.",
            "Set the image plugin where DefaultPlugins is added.",
            "DefaultPlugins.set(ImagePlugin::default_nearest())",
        )


def _names(project: Project, _: BevyProject) -> Iterator[Finding]:
    bad = [
        path.relative_to(project.assets)
        for path in sorted(project.assets.rglob("*"))
        if path.is_file() and (path.suffix in (".PNG", ".Png") or any(sign in path.name for sign in "#?:\\"))
    ]
    if bad:
        more = f" and {len(bad) - 1} more" if len(bad) > 1 else ""
        yield Finding(
            "names",
            "advice",
            f"Bevy cannot load {bad[0]}{more}: endings are case sensitive, and # ? : \\ have a meaning in asset paths.",
            "Rename: lower case, a-z, 0-9, _ and a .png ending.",
        )


def _running(project: Project, bevy: BevyProject) -> Iterator[Finding]:
    topic = "running game"
    before = look(project)
    port = before.client.port
    if before.problem:
        state = "advice" if before.problem.state == "game_not_running" else "broken"
        run = "cargo run" if before.problem.note.startswith("No game listens") else ""
        change = "Start the game (a debug build), and ask again." if run else "Do as it says, and ask again."
        yield Finding(topic, state, before.problem.note, change, run)
        return
    assert before.discovery is not None
    version = before.discovery.version
    if version and bevy.locked and version != bevy.version:
        yield Finding(
            topic,
            "advice",
            f"The game on port {port} runs Bevy {version}, Cargo.lock says {bevy.version}.",
            "It was built before the last change: build and start it again.",
        )
    if before.assets is None:
        what = f"A game (Bevy {version or '0.15'}) answers on port {port}, without the dev plugin"
        yield Finding(
            topic,
            "advice",
            f"{what}: whether it is this game is unknown.",
            "Add the dev plugin and start it again." if bevy.minor in TESTED else "See 'dev plugin' above.",
        )
        return
    try:
        status = before.client.call("dgx_pixels/status", timeout=1.0)
    except BrpError as error:
        yield Finding(topic, "broken", f"The game stopped answering: {error}", "Start it again.")
        return
    try:
        findings = list(_health(status, port, version))
    except (KeyError, TypeError, ValueError, AttributeError):
        what = f"The game on port {port} describes itself in a form that no known version of the dev plugin uses."
        findings = [Finding(topic, "broken", what, "`dgx-pixels init-game` brings src/dgx_pixels.rs up to date.")]
    yield from findings


def _health(status: dict[str, Any], port: int, version: str) -> Iterator[Finding]:
    topic = "running game"
    assets: dict[str, Any] = status["assets"]
    frame = status["frame_ms"]["median"] or 0.0
    yield Finding(
        topic,
        "fine",
        f"'{text_of(status['game'])}' answers on port {port} (Bevy {version}), has loaded {_loaded(assets)} and draws "
        f"a frame every {frame:.0f} ms.",
    )
    if not status["watching"]:
        yield Finding(
            topic,
            "advice",
            "It does not watch its assets folder: file_watcher is off, or the folder was missing at its start.",
            "Start it again once the findings above are fixed; until then deploys reload through the dev plugin.",
        )
    for path, state in sorted(assets.items()):
        if state["failed"] and not state["generation"]:
            yield Finding(
                topic,
                "advice",
                f"It could not load {text_of(path)}: {text_of(state['error'])}",
                f"Deploy a picture to {path}.",
            )


def _loaded(assets: dict[str, Any]) -> str:
    """Counts what the game has read of its assets folder; what it could not read is there too, with generation 0."""
    read = [path for path, state in assets.items() if state["generation"] and "://" not in path]
    sheets = sum(path.endswith(".sheet.json") for path in read)
    counts = ((len(read) - sheets, "picture"), (sheets, "sheet layout"))
    found = [f"{count} {what}{'s' if count > 1 else ''}" for count, what in counts if count]
    return " and ".join(found) or "none of its pictures"
