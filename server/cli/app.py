"""Run the command `dgx-pixels`: COMMANDS lists its commands, and each is imported when it is used."""

from __future__ import annotations

import gc
import sys
from contextlib import nullcontext

from pipelines import tracing
from pipelines.log import set_up_logging
from server.tracing import start_tracing

COMMANDS = {
    "serve": (
        "server.protocol.serving:serve",
        "Serve an assistant over stdio, or with --http over HTTP.",
    ),
    "demo": (
        "server.cli.demo:demo",
        "Draw three sprites and a floor tile into the example game.",
    ),
    "studio": ("server.terminal.command:studio", "Draw, compare and deploy in the terminal, without an assistant."),
    "generate": ("server.cli.commands:generate", "Draw a sprite."),
    "animate": ("server.cli.sheets:animate", "Animate a sprite, or draw effects."),
    "tileset": ("server.cli.sheets:tileset", "Draw a tileset."),
    "ui": ("server.cli.sheets:ui", "Make a kit of user-interface pieces, icons and a pixel font."),
    "pack": ("server.cli.sheets:pack", "Pack sprites and sheets into one atlas, with bodies, layers and team colours."),
    "fix": ("server.cli.pixels:fix", "Get the real pixels back from a render, a screenshot or a JPEG."),
    "slice": ("server.cli.pixels:slice_sheet", "Cut a sheet or an .aseprite file into sprites or an animation."),
    "palette": (
        "server.cli.pixels:palette",
        "Take one palette from a folder of pictures, put one onto it, or undo that.",
    ),
    "deploy": ("server.cli.commands:deploy", "Put an asset into the game."),
    "undo": ("server.cli.commands:undo", "Take the last deployment back."),
    "run": ("server.cli.workflows:run", "Run a workflow: a list of sprites, a character, a folder of pictures."),
    "workflows": ("server.cli.workflows:workflows", "List the workflows."),
    "show": ("server.cli.workflows:show", "Print a workflow's file."),
    "validate": ("server.cli.workflows:validate", "Check a workflow file."),
    "watch": (
        "server.cli.workflows:watch",
        "Draw every *.sprite.json and take every .aseprite of the game as soon as it is saved.",
    ),
    "gallery": ("server.cli.workflows:gallery", "Write or serve a page of everything that was made."),
    "train": ("server.cli.training:train", "Teach a LoRA the game's own style, and follow the job."),
    "export": ("server.cli.comfyui:export", "Write a sprite's recipe as a ComfyUI workflow."),
    "import": ("server.cli.comfyui:import_workflow", "Read a ComfyUI workflow as a recipe, and draw it."),
    "status": ("server.cli.commands:status", "Show the game, the library and the last deployments."),
    "models": ("server.cli.models:models", "List the models, or pull one from the hub."),
    "check": ("server.cli.games:check", "Say what stands between a deployed picture and the game's screen."),
    "init-game": ("server.cli.games:init_game", "Make a Bevy game show what is deployed into it."),
    "assets-ron": ("server.cli.games:assets_ron", "List pictures and sheets for bevy_asset_loader."),
    "agent": ("server.cli.agent:agent", "Let a server on another machine deploy into this machine's game."),
    "token": ("server.cli.tokens:app", "Add, list and remove the tokens of an HTTP server's users."),
    "doctor": ("server.cli.commands:doctor", "Check the machine, and say what to change."),
}
"""name -> (where it is, its line in the help)."""
LONG = ("serve", "studio", "watch", "gallery", "agent")
"""Commands that run until they are stopped: what they do is traced piece by piece."""


def main(arguments: list[str] | None = None) -> None:
    """Runs the command line; an error that is meant for the user ends it with a sentence and exit status 1."""
    given = sys.argv[1:] if arguments is None else arguments
    set_up_logging()
    start_tracing("dgx-pixels")
    if given == ["serve"]:  # a client waits for this one: no command-line parser is loaded
        gc.disable()  # what is loaded stays: looking for garbage among it would take a tenth of the start
        from server.protocol.serving import serve

        serve()
        return
    try:
        if given[:1] == ["studio"]:  # its first screen comes before the command-line parser is loaded
            from server.terminal.command import options_of, studio

            if (options := options_of(given[1:])) is not None:
                studio(**options)
                return
        _parse(given)
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:
        from server.cli.console import SafeConsole, shown

        SafeConsole(stderr=True).print(f"[bold red]dgx-pixels:[/] {shown(_sentence(error))}", highlight=False)
        sys.exit(1)


def _parse(arguments: list[str]) -> None:
    """Runs the command that the arguments name."""
    from cyclopts import App

    from server.cli.console import SafeConsole
    from server.version import package_version

    app = App(
        name="dgx-pixels",
        version=package_version(),
        help="A pixel-art studio for AI assistants, wired into a Bevy game.",
        console=SafeConsole(),
        error_console=SafeConsole(stderr=True),
    )
    for name, (place, line) in COMMANDS.items():
        app.command(place, name=name, help=line)
    name = arguments[0] if arguments else ""
    short = name in COMMANDS and name not in LONG
    with tracing.span(f"dgx-pixels {name}") if short else nullcontext():
        app(arguments, exit_on_error=False, print_error=False)


def _sentence(error: Exception) -> str:
    """Turns an error into a message for the user."""
    from cyclopts import CycloptsError, UnusedCliTokensError
    from pydantic import ValidationError

    from pipelines.errors import report
    from pipelines.invalid import explain_invalid

    if isinstance(error, UnusedCliTokensError):
        left_over = " ".join(error.unused_tokens or ())
        return (
            f"These arguments are left over: {left_over}. Put a text of several words in quotation marks: "
            'dgx-pixels generate "red dragon" --size 32. --help after a command lists its options.'
        )
    if isinstance(error, CycloptsError):
        name = error.argument.name.lstrip("-") if error.argument else "arguments"
        cause = error.__cause__
        return f"{explain_invalid(cause, name)}." if isinstance(cause, ValidationError) else str(error)
    return report(error)


if __name__ == "__main__":
    main()
