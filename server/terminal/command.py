"""The command `dgx-pixels studio`: starts the app in a terminal, and leaves the terminal as it was."""

from __future__ import annotations

import gc
import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NoReturn, get_args

from server.errors import ServerError
from server.tracing import stop_tracing

if TYPE_CHECKING:
    from server.desk.desk import Desk
    from server.terminal.app import StudioApp

CHILD = (sys.executable, "-P", "-m", "server.desk.child")
"""The program that draws."""
HANG_UP = 129
"""The exit status after the terminal has gone, as a shell gives it for SIGHUP."""
GRACE = 2.0
"""Seconds that the app has for its own end when the terminal has gone."""
LOG = "studio.log"
"""The file in the user's data folder that gets log records, and what libraries print, while the studio is open."""


Pictures = Literal["auto", "kitty", "sixel", "blocks", "text"]


def options_of(words: Sequence[str]) -> dict[str, Any] | None:
    """Returns the options of the command where all are written as `--name value`; None: the parser has to read them.

    The parser takes longer to load than the first screen.
    """
    read: dict[str, Callable[[str], Any]] = {"--project": Path, "--connect": str, "--pictures": str}
    pairs = list(zip(words[::2], words[1::2], strict=False))
    if len(words) % 2 or any(name not in read or value.startswith("-") for name, value in pairs):
        return None
    options = {name.removeprefix("--"): read[name](value) for name, value in pairs}
    known = options.get("pictures", "auto") in get_args(Pictures)
    return options if known and len(options) == len(pairs) else None


def studio(
    *,
    project: Path | None = None,
    connect: str = "",
    pictures: Pictures = "auto",
) -> None:
    """Draw, compare and deploy in the terminal, without an assistant.

    Parameters
    ----------
    project
        The game's root; default: found from the working directory. With --connect: on the server's machine.
    connect
        The address of a running `dgx-pixels serve --http`, whose library, models and queue it shares;
        DGX_PIXELS_HTTP_TOKEN must hold that server's token.
    pictures
        kitty, sixel: the terminal's graphics; blocks: two pixels in a cell; text: shades, for terminals without colours
        or Unicode; auto: as the terminal can.
    """
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise ServerError("The studio needs a terminal. In a script use `dgx-pixels generate` and `deploy`.")
    if find_spec("textual") is None:
        raise ServerError("The studio's package is not installed. Run: pip install 'dgx-pixels[studio]'")
    os.environ.setdefault("TEXTUAL_FPS", "120")  # looks twice in a sixtieth whether something is to be drawn
    gc.disable()  # while modules are loaded: a tenth of the start
    try:
        app, log = _run(connect, str(project) if project else None, pictures)
    except OSError:
        if _hung_up():
            leave(HANG_UP)
        raise
    if _hung_up():
        leave(HANG_UP)
    if app.return_code == 1:
        sys.stderr.write(f"The studio ended by a fault of dgx-pixels. {log} has the details: please report them.\n")
    leave(app.return_code or 0)


def _run(connect: str, project: str | None, pictures: str) -> tuple[StudioApp, Path]:
    """Returns the app after its end, and the file with what was logged."""
    with _errors_in_a_file() as log:
        desk = _desk(connect, project)  # its process starts while the first screen does
        from server.terminal.app import StudioApp
        from server.terminal.probe import ask, graphics_of, is_light, speaks_unicode

        plain = pictures == "text" or (pictures == "auto" and not speaks_unicode())
        answer = ask()
        app = StudioApp(desk, plain=plain, light=is_light(answer), graphics=graphics_of(answer, pictures))
        _end_with_the_terminal(app)
        gc.freeze()  # what is loaded stays: looking through it would hold keys for a tenth of a second
        gc.enable()
        app.run()
    return app, log


def _desk(connect: str, project: str | None) -> Desk:
    """Returns the desk of a server, or that of a process of the studio's own.

    Raises:
        ServerError: the server cannot be used.
    """
    from server.desk.remote import RemoteDesk, address, check

    if not connect:
        from server.desk.child import Child

        child = Child(CHILD, project)
        child.start()
        return RemoteDesk(child.address, project, child.close)
    from server.version import package_version

    where = address(connect, os.environ.get("DGX_PIXELS_HTTP_TOKEN", ""))
    check(where, package_version())
    return RemoteDesk(lambda: where, project)


def _end_with_the_terminal(app: StudioApp) -> None:
    """Ends the app when the terminal is gone, also where no signal says so (a session of its own, a lost line)."""

    def watch() -> None:
        if not _hung_up(None):
            return
        with suppress(RuntimeError):  # the app has ended
            app.call_from_thread(app.exit)
        time.sleep(GRACE)
        app.desk.close()
        os._exit(HANG_UP)

    threading.Thread(target=watch, name="dgx-pixels-terminal", daemon=True).start()


def _hung_up(milliseconds: int | None = 0) -> bool:
    """Returns whether the terminal is gone; None waits until it is."""
    import select

    if not hasattr(select, "poll"):  # Windows
        return False
    poll = select.poll()
    poll.register(sys.stdin.fileno(), 0)  # no events: a hang-up is always told, and no key is read
    return bool(poll.poll(milliseconds))


def leave(code: int) -> NoReturn:
    """Ends the process without waiting for a model that is loading: its thread would abort a normal end."""
    stop_tracing()
    stop_tracing()
    logging.shutdown()
    with suppress(OSError, ValueError):
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(code)


@contextmanager
def _errors_in_a_file() -> Iterator[Path]:
    """Sends standard error to a file, which is returned, while the screen is drawn on it.

    Log records, warnings and what C libraries print would otherwise land in the middle of the screen. Textual draws on
    `sys.__stderr__`, which is a copy of the terminal's own descriptor in that time.
    """
    from platformdirs import user_data_path

    given = os.environ.get("DGX_PIXELS_DATA_DIR")
    folder = Path(given) if given else user_data_path("dgx-pixels", appauthor=False)
    terminal = os.dup(2)
    before = sys.__stderr__
    try:
        folder.mkdir(parents=True, exist_ok=True)
        log = os.open(folder / LOG, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    except OSError:
        log = os.open(os.devnull, os.O_WRONLY)
    os.dup2(log, 2)
    os.close(log)
    sys.__stderr__ = os.fdopen(terminal, "w", encoding="utf-8", errors="replace")  # type: ignore[misc]
    try:
        yield folder / LOG
    finally:
        sys.__stderr__.flush()  # type: ignore[union-attr]
        os.dup2(terminal, 2)
        sys.__stderr__ = before  # type: ignore[misc]
