"""Real clients draw, see the picture, deploy and take back, led by a scripted model on loopback (`make test-clients`).

The agent libraries live in `.venv-clients`, the command-line assistants in `.npm-clients`: they are not dependencies of
the package. What is not installed is skipped.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.clients.scripted_model import STEPS, ScriptedModel

ROOT = Path(__file__).parents[2]
PYTHON = ROOT / ".venv-clients" / "bin" / "python"
PROGRAMS = ROOT / ".npm-clients" / "node_modules" / ".bin"
SERVER = [sys.executable, "-m", "server", "serve"]
WISH = "Draw a red dragon, put it into my game, and take it back."
LONGEST = 300

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif("DGX_PIXELS_CLIENTS" not in os.environ, reason="make test-clients runs the real clients"),
]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """An empty home folder: no settings of the user's are read or written."""
    folder = tmp_path / "home"
    folder.mkdir()
    return folder


def environment(game: Path, home: Path) -> dict[str, str]:
    """What the server is told."""
    return {"DGX_PIXELS_PROJECT": str(game), "DGX_PIXELS_DATA_DIR": str(home / "data")}


def run(command: list[str], game: Path, home: Path, **variables: str) -> str:
    """Runs a client in the game's folder; its output. Skips where its program is not installed."""
    if not Path(command[0]).exists():
        pytest.skip(f"{Path(command[0]).name} is not installed here")
    # some need a newer Node.js than the system's: one lies beside them
    path = f"{PROGRAMS}{os.pathsep}{os.environ['PATH']}"
    own = {"PATH": path, "PYTHONPATH": str(ROOT), "HOME": str(home), "CODEX_HOME": str(home / ".codex")}
    folders = {f"XDG_{kind}_HOME": str(home / kind.lower()) for kind in ("CONFIG", "DATA", "CACHE", "STATE")}
    done = subprocess.run(
        command,
        env={**own, **folders, **environment(game, home), **variables},
        cwd=game,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=LONGEST,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def check(model: ScriptedModel, game: Path) -> None:
    """The conversation went through, the model was shown the picture, and the game is as it was."""
    assert model.called == list(STEPS)
    assert model.saw_picture
    assert not list((game / "assets").iterdir())


@pytest.mark.parametrize("library", ["langchain", "openai-agents", "pydantic-ai"])
def test_an_agent_library_shows_the_picture_to_its_model(game: Path, home: Path, library: str) -> None:
    with ScriptedModel() as model:
        run(
            [str(PYTHON), str(Path(__file__).with_name("drive.py")), library, model.address, str(game), *SERVER],
            game,
            home,
        )
    check(model, game)


def test_the_inspector_draws_deploys_and_takes_back(game: Path, home: Path) -> None:
    def call(tool: str, **arguments: Any) -> dict[str, Any]:
        given = [part for name, value in arguments.items() for part in ("--tool-arg", f"{name}={value}")]
        program = str(PROGRAMS / "mcp-inspector")
        said = run([program, "--cli", *SERVER, "--method", "tools/call", "--tool-name", tool, *given], game, home)
        return json.loads(said)

    drawn = call("generate_sprite", prompt="red dragon", size=16)
    assert [block["type"] for block in drawn["content"]] == ["image", "text"]
    asset = drawn["structuredContent"]["asset_id"]
    assert call("deploy_asset", asset_id=asset, path="dragon.png")["structuredContent"]["state"] == "written"
    assert (game / "assets" / "dragon.png").is_file()
    assert call("undo_deploy")["structuredContent"]["state"] == "undone"
    assert not list((game / "assets").iterdir())


def test_claude_code(game: Path, home: Path) -> None:
    entry = {"command": SERVER[0], "args": SERVER[1:], "env": environment(game, home)}
    settings = home / "mcp.json"
    settings.write_text(json.dumps({"mcpServers": {"dgx-pixels": entry}}))
    command = [str(PROGRAMS / "claude"), "-p", WISH, "--mcp-config", str(settings), "--strict-mcp-config"]
    with ScriptedModel() as model:
        run(
            [*command, "--allowedTools", "mcp__dgx-pixels"],
            game,
            home,
            ANTHROPIC_BASE_URL=model.address,
            ANTHROPIC_API_KEY="none",
            CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC="1",
            ENABLE_TOOL_SEARCH="false",
            MCP_TIMEOUT="120000",
        )
    check(model, game)


def test_codex(game: Path, home: Path) -> None:
    with ScriptedModel() as model:
        lines = [
            'model = "gpt-5"',
            'model_provider = "scripted"',
            'approval_policy = "never"',
            'sandbox_mode = "danger-full-access"',
            "[model_providers.scripted]",
            'name = "scripted"',
            f'base_url = "{model.address}/v1"',
            'wire_api = "responses"',
            "[mcp_servers.dgx-pixels]",
            f"command = {json.dumps(SERVER[0])}",
            f"args = {json.dumps(SERVER[1:])}",
            "required = true",
            "startup_timeout_sec = 120",
            'default_tools_approval_mode = "approve"',
            "[mcp_servers.dgx-pixels.env]",
            *(f"{name} = {json.dumps(value)}" for name, value in environment(game, home).items()),
        ]
        (home / ".codex").mkdir()
        (home / ".codex" / "config.toml").write_text("\n".join(lines))
        run([str(PROGRAMS / "codex"), "exec", "--skip-git-repo-check", WISH], game, home)
    check(model, game)


def test_gemini_cli(game: Path, home: Path) -> None:
    entry = {"command": SERVER[0], "args": SERVER[1:], "env": environment(game, home), "trust": True}
    settings = {
        "mcpServers": {"dgx-pixels": entry},
        "security": {"auth": {"selectedType": "gemini-api-key"}, "folderTrust": {"enabled": False}},
        "privacy": {"usageStatisticsEnabled": False},
    }
    (home / ".gemini").mkdir()
    (home / ".gemini" / "settings.json").write_text(json.dumps(settings))
    with ScriptedModel() as model:
        command = [str(PROGRAMS / "gemini"), "-p", WISH, "--yolo", "-m", "gemini-2.5-flash"]
        run(command, game, home, GEMINI_API_KEY="none", GOOGLE_GEMINI_BASE_URL=model.address)
    check(model, game)


def test_opencode(game: Path, home: Path) -> None:
    with ScriptedModel() as model:
        scripted = {
            "name": "scripted",
            "attachment": True,
            "modalities": {"input": ["text", "image"], "output": ["text"]},
            "tool_call": True,
            "limit": {"context": 100_000, "output": 1000},
        }
        provider = {
            "npm": "@ai-sdk/openai-compatible",
            "options": {"baseURL": f"{model.address}/v1", "apiKey": "none"},
            "models": {"scripted": scripted},
        }
        server = {"type": "local", "command": SERVER, "environment": environment(game, home), "timeout": 120_000}
        settings = {
            "provider": {"scripted": provider},
            "model": "scripted/scripted",
            "mcp": {"dgx-pixels": server},
            "permission": {"*": "allow"},
        }
        (game / "opencode.json").write_text(json.dumps(settings))
        run([str(PROGRAMS / "opencode"), "run", WISH], game, home)
    check(model, game)


def test_qwen_code(game: Path, home: Path) -> None:
    entry = {"command": SERVER[0], "args": SERVER[1:], "env": environment(game, home), "trust": True}
    settings = {
        "mcpServers": {"dgx-pixels": entry},
        "security": {"auth": {"selectedType": "openai"}},
        "privacy": {"usageStatisticsEnabled": False},
        "model": {"name": "scripted", "generationConfig": {"modalities": {"image": True}}},
    }
    (home / ".qwen").mkdir()
    (home / ".qwen" / "settings.json").write_text(json.dumps(settings))
    with ScriptedModel() as model:
        command = [str(PROGRAMS / "qwen"), WISH, "--yolo", "--auth-type", "openai"]
        given = {"OPENAI_API_KEY": "none", "OPENAI_BASE_URL": f"{model.address}/v1", "OPENAI_MODEL": "scripted"}
        run(command, game, home, **given)
    check(model, game)


def test_copilot_cli(game: Path, home: Path) -> None:
    entry = {
        **{"type": "local", "command": SERVER[0], "args": SERVER[1:], "tools": ["*"]},
        **{"env": environment(game, home), "timeout": 120_000},
    }
    with ScriptedModel() as model:
        command = [str(PROGRAMS / "copilot"), "-p", WISH, "--allow-all-tools", "--no-auto-update"]
        run(
            [*command, "--additional-mcp-config", json.dumps({"mcpServers": {"dgx-pixels": entry}})],
            game,
            home,
            COPILOT_PROVIDER_BASE_URL=f"{model.address}/v1",
            COPILOT_PROVIDER_WIRE_API="responses",
            COPILOT_PROVIDER_API_KEY="none",
            COPILOT_MODEL="gpt-5.4",
            COPILOT_HOME=str(home / ".copilot"),
        )
    assert model.called == list(STEPS)
    assert not list((game / "assets").iterdir())
    # Copilot CLI 1.0.102 sends a provider of one's own no picture of a tool: the answer's text names its file
    assert "Open this file if no picture is shown" in json.dumps(model.requests)
