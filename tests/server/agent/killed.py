"""`python -m tests.server.agent.killed WHERE NAME URL GAME`: an agent that is killed in the middle of a request.

WHERE: `placed:2` kills it before the second file is put into assets/, `step:9` before its ninth change of any file,
`answer` when all is done and the answer is about to be sent.
"""

from __future__ import annotations

import os
import signal
import sys

from server.cli.app import main
from tests.server.deploy.crash import kill_at


def _kill_when_sending(part: bytes) -> None:
    def hook(event: str, args: tuple[object, ...]) -> None:
        if event == "http.client.send" and isinstance(args[1], bytes) and part in args[1]:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)


if __name__ == "__main__":
    where, name, url, game = sys.argv[1:]
    kind, _, step = where.partition(":")
    if kind in ("placed", "step"):
        kill_at(int(step), placed=kind == "placed")
    else:
        _kill_when_sending(b'"op":"placed"')
    main(["agent", name, "--connect", url, "--project", game])
