"""The game and the plugin are formatted, free of lints, and compile for the web, each under default settings."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.bevy_game.running import VERSION
from tests.bevy_game.toolchain import EXAMPLE, VERSIONS, binary, cargo, environment, own_folder, project

WASM = "wasm32-unknown-unknown"
QUIETLY = ("--ignore-rust-version", "--quiet")
LINTS = {"RUSTC_WORKSPACE_WRAPPER": "clippy-driver"}
"""What `cargo clippy` is: cargo with this program in place of the compiler, for the package alone."""


def run(*arguments: str, cwd: Path = EXAMPLE, **variables: str) -> str:
    """What the cargo command says; fails where it does not succeed."""
    command = [*cargo(VERSION), *arguments]
    env = {**environment(VERSION), **variables}
    done = subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def need(component: str) -> None:
    """Skips the test where the toolchain that builds the game lacks a part of rustup."""
    toolchain = cargo(VERSION)[1:]
    if component == WASM:
        command = ["rustc", *toolchain, "--print", "target-libdir", "--target", WASM]
        folder = subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
        if not folder or not Path(folder).is_dir():
            pytest.skip(f"The target {WASM} is not installed: rustup target add {WASM}")
    elif not has(component):
        pytest.skip(f"cargo {component} is not installed: rustup component add {component.replace('fmt', 'rustfmt')}")


def has(component: str) -> bool:
    """Whether the toolchain has `cargo clippy` or `cargo fmt`."""
    return not subprocess.run([*cargo(VERSION), component, "--version"], capture_output=True, check=False).returncode


@pytest.fixture
def crate() -> Path:
    """The plugin as a crate, outside the checkout, with the versions of the game."""
    folder = own_folder(VERSION, "bevy_dgx_pixels")
    shutil.copytree(EXAMPLE / "crates/bevy_dgx_pixels", folder, dirs_exist_ok=True)
    shutil.copy(project(VERSION) / "Cargo.lock", folder)
    manifest = folder / "Cargo.toml"
    extras = VERSIONS[VERSION]["extras"].rpartition(".")[0]
    text = manifest.read_text().replace('version = "0.20"', f'version = "{VERSION}"')
    manifest.write_text(text.replace('version = "0.23"', f'version = "{extras}"'))
    return folder


def test_cargo_fmt_changes_nothing(crate: Path) -> None:
    need("fmt")
    assert not list(EXAMPLE.rglob("*rustfmt.toml"))
    run("fmt", "--check")
    run("fmt", "--check", cwd=crate)


def test_clippy_has_nothing_to_say() -> None:
    need("clippy")
    # a package of its own: what clippy compiles must not take the place of the game's program
    root = own_folder(VERSION, "clippy")
    shutil.copytree(EXAMPLE / "src", root / "src")
    (root / "examples").mkdir()
    shutil.copy(EXAMPLE / "examples/without_plugin.rs", root / "examples/clippy_example.rs")
    manifest = (project(VERSION) / "Cargo.toml").read_text()
    (root / "Cargo.toml").write_text(manifest.replace(f'name = "{binary(VERSION)}"', 'name = "clippy_game"'))
    shutil.copy(project(VERSION) / "Cargo.lock", root)
    # with the dependencies that are built already, which `cargo clippy` would check once more
    assert not run("build", "--bins", "--examples", *QUIETLY, cwd=root, **LINTS)


def test_the_game_compiles_for_the_web_without_the_dev_half() -> None:
    need(WASM)
    lints = LINTS if has("clippy") else {}
    assert not run("check", "--target", WASM, "--no-default-features", *QUIETLY, cwd=project(VERSION), **lints)


def test_the_runtime_half_alone_compiles_for_the_web(crate: Path) -> None:
    need(WASM)
    assert not run("check", "--target", WASM, "--no-default-features", *QUIETLY, cwd=crate)
