"""What publishes the server: wheel, registry entry, bundle, launcher, skill, workflow of the CI."""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
import venv
import zipfile
from pathlib import Path
from urllib.parse import parse_qs

import pytest
from fastmcp import Client
from fastmcp.client.transports import StdioTransport

from server.publishing.bundle import write_bundle

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def test_the_registry_entry_names_this_version_and_the_readme_has_its_mark() -> None:
    entry = json.loads((ROOT / "server.json").read_text())
    package = entry["packages"][0]
    assert {entry["version"], package["version"]} == {PROJECT["version"]}
    assert package["identifier"] == PROJECT["name"]
    assert package["transport"] == {"type": "stdio"}
    assert len(entry["description"]) <= 100
    assert f"<!-- mcp-name: {entry['name']} -->" in (ROOT / "README.md").read_text()


def test_the_install_buttons_hold_the_command_of_the_readme() -> None:
    text = (ROOT / "README.md").read_text()
    code = re.search(r"https://insiders\.vscode\.dev/redirect/mcp/install\?([^)]+)", text)
    cursor = re.search(r"https://cursor\.com/en/install-mcp\?([^)]+)", text)
    assert code
    assert cursor
    of_code, of_cursor = parse_qs(code[1]), parse_qs(cursor[1])
    assert of_code["name"] == of_cursor["name"] == ["dgx-pixels"]
    expected = {"command": "uvx", "args": ["dgx-pixels", "serve"]}
    assert json.loads(of_code["config"][0]) == expected
    assert json.loads(base64.b64decode(of_cursor["config"][0])) == expected
    assert "`uvx dgx-pixels serve`" in text


@pytest.mark.slow
def test_the_bundle_holds_the_sources_and_a_manifest_of_this_version(tmp_path: Path) -> None:
    names = write_bundle(tmp_path / "dgx-pixels.mcpb")
    with zipfile.ZipFile(tmp_path / "dgx-pixels.mcpb") as bundle:
        manifest = json.loads(bundle.read("manifest.json"))
        assert manifest["version"] == PROJECT["version"]
        assert {"pyproject.toml", manifest["icon"], manifest["server"]["entry_point"]} <= set(bundle.namelist())
        assert bundle.namelist() == names
    assert any("checkpoint/unet" in name for name in names)
    assert not any("__pycache__" in name for name in names)


@pytest.mark.slow
def test_the_same_sources_give_the_same_bundle(tmp_path: Path) -> None:
    for name in ("a.mcpb", "b.mcpb"):
        write_bundle(tmp_path / name)
    assert (tmp_path / "a.mcpb").read_bytes() == (tmp_path / "b.mcpb").read_bytes()


def test_the_skill_has_a_name_and_says_when_to_use_it() -> None:
    text = (ROOT / "server/publishing/skill/SKILL.md").read_text()
    _, head, body = text.split("---\n", 2)
    fields = dict(line.split(": ", 1) for line in head.strip().splitlines())
    assert fields["name"] == "dgx-pixels"
    assert "Use when" in fields["description"]
    assert len(fields["description"]) <= 1024
    assert "example session" in body


def test_the_workflow_of_the_ci_calls_the_one_command() -> None:
    yaml = pytest.importorskip("yaml")
    read = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())
    steps = read["jobs"]["check"]["steps"]
    assert [step["run"] for step in steps if step.get("run") == ".ci/run"]
    assert all(("uses" in step) != ("run" in step) for step in steps)


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A clone with the launcher and .mcp.json, and without an environment."""
    root = tmp_path / "clone"
    (root / "server/publishing").mkdir(parents=True)
    (root / "docs/deep").mkdir(parents=True)
    shutil.copy(ROOT / "server/publishing/launch.sh", root / "server/publishing")
    shutil.copy(ROOT / ".mcp.json", root)
    game = root / "bevy_example"
    (game / "assets").mkdir(parents=True)
    (game / "Cargo.toml").write_text('[package]\nname = "example"\n[dependencies]\nbevy = "0.20"\n')
    return root


def add_program(clone: Path) -> None:
    """Puts the command of these tests' environment where `make` would put it."""
    program = clone / ".venv/bin/dgx-pixels"
    program.parent.mkdir(parents=True)
    program.write_text(f'#!/bin/sh\nPYTHONPATH={ROOT} exec {sys.executable} -m server "$@"\n')
    program.chmod(0o755)


@pytest.mark.anyio
@pytest.mark.parametrize("folder", ["docs/deep", pytest.param(".", marks=pytest.mark.slow)])
async def test_the_clones_mcp_json_serves_the_example_game_from_any_folder(clone: Path, folder: str) -> None:
    add_program(clone)
    entry = json.loads((clone / ".mcp.json").read_text())["mcpServers"]["dgx-pixels"]
    given = {name: value for name, value in os.environ.items() if name != "CLAUDE_PROJECT_DIR"}
    transport = StdioTransport(
        entry["command"], entry["args"], env=given | entry["env"], cwd=str(clone / folder), keep_alive=False
    )
    async with Client(transport) as client:
        status = (await client.call_tool("get_status", {})).structured_content
    assert status
    assert status["project"]["root"] == str(clone / "bevy_example")


def test_before_make_the_launcher_makes_the_environment_and_says_nothing_on_stdout(clone: Path) -> None:
    programs = clone / "programs"
    programs.mkdir()
    (programs / "make").write_text(
        '#!/bin/sh\necho "installing $1"\nmkdir -p .venv/bin\n'
        'printf "#!/bin/sh\\necho served \\"\\$@\\"\\n" > .venv/bin/dgx-pixels\nchmod +x .venv/bin/dgx-pixels\n'
    )
    (programs / "make").chmod(0o755)
    done = subprocess.run(
        ["sh", str(clone / "server/publishing/launch.sh"), "serve"],
        env=os.environ | {"PATH": f"{programs}:{os.environ['PATH']}"},
        cwd=clone / "docs",
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "served serve\n"
    assert "installing setup" in done.stderr


@pytest.mark.slow
def test_the_wheel_draws_in_an_environment_of_its_own(tmp_path: Path) -> None:
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "wheel", "--no-deps", "--wheel-dir", tmp_path, str(ROOT)], check=True)
    (wheel,) = tmp_path.glob("dgx_pixels-*.whl")
    home = tmp_path / "environment"
    venv.create(home, with_pip=False)
    python = home / "bin/python"
    # The dependencies are those of these tests' environment; the package itself must come out of the wheel.
    (site,) = home.glob("lib/python*/site-packages")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    here = next(path for path in sys.path if path.endswith("site-packages"))
    others = tmp_path / "dependencies"
    others.mkdir()
    for entry in Path(here).iterdir():
        if "dgx_pixels" not in entry.name and not entry.name.endswith(".pth"):
            (others / entry.name).symlink_to(entry)
    (site / "dependencies.pth").write_text(f"{others}\n")
    game = tmp_path / "game"
    (game / "assets").mkdir(parents=True)
    (game / "Cargo.toml").write_text('[package]\nname = "game"\n[dependencies]\nbevy = "0.20"\n')
    given = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "DGX_PIXELS"))}
    code = "import server, sys; print(server.__file__); from server.cli.app import main; main(sys.argv[1:])"
    done = subprocess.run(
        [python, "-c", code, "generate", "red dragon", "--size", "16", "--seed", "1", "--out", "dragon.png"],
        cwd=game,
        env=given,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert str(site) in done.stdout.replace("\n", "")
    assert (game / "dragon.png").read_bytes().startswith(b"\x89PNG")
