"""The command `dgx-pixels studio`: starts the app in a terminal, and leaves the terminal as it was."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NoReturn

from server.errors import ServerError

if TYPE_CHECKING:
    from server.studio import Studio

LOG = "studio.log"
"""The file in the user's data folder that gets log records, and what libraries print, while the studio is open."""


def studio(*, project: Path | None = None, pictures: Literal["auto", "blocks", "text"] = "auto") -> None:
    """Draw, compare and deploy in the terminal, without an assistant.

    Parameters
    ----------
    project
        The game's root; default: found from the working directory.
    pictures
        blocks: two pixels in a cell; text: shades, for terminals without colours or Unicode; auto: as the terminal can.
    """
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise ServerError("The studio needs a terminal. In a script use `dgx-pixels generate` and `deploy`.")
    try:
        from server.terminal.app import StudioApp
        from server.terminal.local import LocalDesk
    except ImportError as error:
        raise ServerError(
            f"The studio's packages are not installed ({error.name}). Run: pip install 'dgx-pixels[studio]'"
        ) from error
    from server.terminal.probe import light_background, speaks_unicode

    plain = pictures == "text" or (pictures == "auto" and not speaks_unicode())
    app = StudioApp(LocalDesk(make_studio, str(project) if project else None), plain=plain, light=light_background())
    with _errors_in_a_file() as log:
        app.run()
    if app.return_code == 1:
        sys.stderr.write(f"The studio ended by a fault of dgx-pixels. {log} has the details: please report them.\n")
    leave(app.return_code or 0)


def leave(code: int) -> NoReturn:
    """Ends the process without waiting for a model that is loading: its thread would abort a normal end."""
    logging.shutdown()
    with suppress(OSError, ValueError):
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(code)


def make_studio() -> Studio:
    """Makes a studio; the class is imported in the thread that first needs it."""
    from server.studio import Studio

    return Studio()


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
