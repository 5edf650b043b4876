"""Builds the example game: `python -m tests.bevy_game.toolchain [--bevy 0.19]`.

Bevy 0.20 needs Rust 1.97.1. Where the stable toolchain is older, a nightly that is new enough builds it. The game for
Bevy 0.19 is the same source with other versions in its Cargo.toml, in a folder of its own. Each version has its own
target folder, so that one can be built while the other runs.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tomllib
from functools import cache
from pathlib import Path

EXAMPLE = Path(__file__).parents[2] / "bevy_example"
CACHE = Path.home() / ".cache/dgx-pixels"
VERSIONS = {"0.20": {"bevy": "0.20.1", "extras": "0.23.0"}, "0.19": {"bevy": "0.19.1", "extras": "0.22.3"}}
BRP_MCP = {"0.20": "0.23.0", "0.19": "0.22.10"}
"""The version of bevy_brp_mcp, the other server, that belongs to that Bevy."""
RUST = {"0.20": (1, 97), "0.19": (1, 95)}


def bevy_version() -> str:
    """The Bevy that the tests are for: "0.20", or what the variable DGX_PIXELS_BEVY names."""
    named = os.environ.get("DGX_PIXELS_BEVY", "")
    return named if named in VERSIONS else "0.20"


def target(version: str) -> Path:
    """The target folder of that Bevy, outside the checkout."""
    newest = Path(os.environ.get("CARGO_TARGET_DIR", CACHE / "target"))
    return newest if version == "0.20" else newest.with_name(f"{newest.name}-{version}")


@cache
def cargo(version: str) -> tuple[str, ...]:
    """The cargo command that can build a game on that Bevy.

    Raises:
        SystemExit: no installed toolchain is new enough; the message says what to install.
    """
    needed = RUST[version]
    if _rust("stable") >= needed or _rust("") >= needed:
        return ("cargo",)
    if (found := _rust("nightly")) >= needed:
        print(f"Stable Rust is older than {needed[0]}.{needed[1]}: nightly {found[0]}.{found[1]} builds the game.")
        return ("cargo", "+nightly")
    raise SystemExit(f"Bevy {version} needs Rust {needed[0]}.{needed[1]}: run `rustup update stable` and try again.")


def _rust(toolchain: str) -> tuple[int, int]:
    command = ["rustc", *([f"+{toolchain}"] if toolchain else []), "--version"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False).stdout
    except OSError:
        return (0, 0)
    found = re.search(r"rustc (\d+)\.(\d+)", answer)
    return (int(found[1]), int(found[2])) if found else (0, 0)


def manifest_for(version: str) -> str:
    """The example's Cargo.toml with the versions of that Bevy."""
    text = (EXAMPLE / "Cargo.toml").read_text(encoding="utf-8")
    for name, newest in VERSIONS["0.20"].items():
        text = text.replace(f'"={newest}"', f'"={VERSIONS[version][name]}"')
    return text.replace('rust-version = "1.97.1"', f'rust-version = "{RUST[version][0]}.{RUST[version][1]}"')


def project(version: str) -> Path:
    """The folder that is built: the example itself, or a copy with other versions in the cache."""
    if version == "0.20":
        return EXAMPLE
    folder = CACHE / f"example-{version}"
    folder.mkdir(parents=True, exist_ok=True)
    manifest = manifest_for(version).replace('name = "bevy_example"', f'name = "{binary(version)}"')
    path = folder / "Cargo.toml"
    if not path.is_file() or path.read_text(encoding="utf-8") != manifest:
        path.write_text(manifest, encoding="utf-8")
    links = {"src": "src", f"examples/{example(version)}.rs": "examples/without_plugin.rs"}
    for name, source in links.items():
        link = folder / name
        link.parent.mkdir(exist_ok=True)
        if not link.is_symlink() or link.resolve() != EXAMPLE / source:
            link.unlink(missing_ok=True)
            link.symlink_to(EXAMPLE / source)
    return folder


def binary(version: str) -> str:
    """The name of the game's program in the target folder."""
    return "bevy_example" if version == "0.20" else "bevy_example_" + version.replace(".", "_")


def example(version: str) -> str:
    """The name of the program without the plugin."""
    return "without_plugin" + binary(version).removeprefix("bevy_example")


def bevy_dependency(version: str) -> str:
    """Bevy's line for a Cargo.toml, as in the example game, so that Bevy is not compiled again."""
    found = tomllib.loads(manifest_for(version))["dependencies"]["bevy"]
    features = ", ".join(f'"{feature}"' for feature in found["features"])
    return f'bevy = {{ version = "{found["version"]}", default-features = false, features = [{features}] }}'


def extras_dependency(version: str) -> str:
    """A table for the end of a Cargo.toml. Not used: with it Bevy has the features that it has in the example game."""
    named = VERSIONS[version]["extras"]
    return f'\n[dependencies.bevy_brp_extras]\nversion = "={named}"\ndefault-features = false\n'


def own_folder(version: str, name: str) -> Path:
    """An empty folder for a game that a test builds. It is the same in every run, so that its program is replaced."""
    folder = CACHE / f"games-{version}" / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def build(version: str, root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs cargo build in a project, with the target folder of that Bevy."""
    command = [*cargo(version), "build", "--ignore-rust-version", *arguments]
    return subprocess.run(command, cwd=root, env=environment(version), capture_output=True, text=True, check=False)


def environment(version: str) -> dict[str, str]:
    """Cargo's variables: the target folder, and the example's profile, with which Bevy is compiled already."""
    own = {"CARGO_TARGET_DIR": str(target(version)), "CARGO_INCREMENTAL": "0", "CARGO_PROFILE_DEV_DEBUG": "0"}
    return {**os.environ, **own}


def main() -> int:
    """Builds the example's programs and shows cargo's progress."""
    parser = argparse.ArgumentParser(prog="python -m tests.bevy_game.toolchain", description=__doc__)
    parser.add_argument("--bevy", choices=VERSIONS, default="0.20")
    version = parser.parse_args().bevy
    command = [*cargo(version), "build", "--ignore-rust-version", "--bins", "--examples"]
    return subprocess.run(command, cwd=project(version), env=environment(version), check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
