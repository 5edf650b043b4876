"""Kill the agent of a game on another machine at random changes of files, while a server deploys and undoes through it.

`python -m tests.faults.agents [KILLS]` prints the counts and ends with 1 where a bundle was lost, doubled or halved.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from fastmcp import FastMCP

from pipelines.pixels.png import encode_png
from pipelines.records import Recipe
from server.agent.routes import agent_routes
from server.deploy.deploy import deploy, undo
from server.library.store import Library
from server.settings import Settings
from server.studio import Studio
from server.users import USER, Users
from tests.fakes import fake_picture
from tests.server.deploy import crash
from tests.server.desk.serving import served

NAME = "ann/keep"
MOST_STEPS = 60
"""An agent is killed at one of its first changes of a file; a deploy of five files has about twenty."""


@dataclass
class Count:
    """What the kills left."""

    kills: int = 0
    calls: int = 0
    resumed: int = 0
    """Calls during which an agent was killed, and which the next one answered."""
    wrong_chain: int = 0
    """A deploy or an undo that happened twice or not at all."""
    wrong_files: int = 0
    seconds: float = 0.0

    @property
    def good(self) -> bool:
        """Whether nothing was lost, doubled or halved."""
        return not (self.wrong_chain or self.wrong_files)


def killed_agents(folder: Path, kills: int, seed: int = 1) -> Count:
    """Deploys bundles of five files and undoes them until so many agents were killed, and checks after each call."""
    count, draw, started = Count(), random.Random(seed), time.monotonic()
    root = folder / "developer" / "keep"
    crash.make_game(root)
    settings = Settings(data_dir=folder / "data", preload="none")
    users = Users(settings.data_dir)
    token = users.add("ann")
    studio = Studio(settings)
    mark = USER.set(users.named("ann"))
    ids = _bundles(studio, 6)
    server = FastMCP("agents")
    for route in agent_routes(lambda: studio.remote, users, lambda *_: None):
        server.custom_route(route.path, ["POST"])(route.endpoint)
    ended = threading.Event()
    with served(server) as port:
        killer = threading.Thread(target=_kill, args=(port, token, root, kills, random.Random(seed), count, ended))
        killer.start()
        try:
            _work(studio, root, ids, draw, count, kills)
        finally:
            ended.set()
            killer.join()
            USER.reset(mark)
    studio.close()
    count.seconds = time.monotonic() - started
    return count


def _work(studio: Studio, root: Path, ids: list[str], draw: random.Random, count: Count, kills: int) -> None:
    chain: list[str] = []
    expected: list[dict[str, bytes]] = []
    while not studio.remote.names("ann") or not studio.remote.line(NAME).connected:
        time.sleep(0.02)
    last = False
    while not last and count.good:
        before = count.kills
        last = before >= kills  # one more call, for the agent that lives
        if chain and draw.random() < 0.4:
            undo(studio, project=NAME, verify=False)
            chain.pop()
            expected.pop()
        else:
            asset = draw.choice([one for one in ids if not chain or one != chain[-1]])
            done = deploy(studio, asset, crash.PLACE, NAME, overwrite=True, verify=False)
            chain.append(asset)
            expected.append(dict(done.files))
        count.calls += 1
        count.resumed += count.kills > before
        library = Library(root / ".dgx-pixels")
        found = [entry.asset_id for entry in reversed(library.deployments(limit=100_000))]
        library.close()
        count.wrong_chain += found != chain
        files = {path.relative_to(root / "assets").as_posix(): path.read_bytes() for path in _files(root / "assets")}
        count.wrong_files += files != (expected[-1] if expected else {})


def _kill(
    port: int, token: str, root: Path, kills: int, draw: random.Random, count: Count, ended: threading.Event
) -> None:
    """Runs one agent after the other; each kills itself. The last call is answered by one that lives."""
    while not ended.is_set():
        where = f"step:{draw.randint(1, MOST_STEPS)}" if draw.random() < 0.8 else "answer"
        last = count.kills >= kills
        command = [sys.executable, "-m", "tests.server.agent.killed", "step:1000000000" if last else where, NAME]
        with subprocess.Popen(
            [*command, f"http://127.0.0.1:{port}", str(root)],
            env={**os.environ, "DGX_PIXELS_HTTP_TOKEN": token, "PYTHONDONTWRITEBYTECODE": "1"},
            stdout=subprocess.DEVNULL,
        ) as agent:
            if last:
                ended.wait()
                agent.kill()
                return
            agent.wait()
        count.kills += agent.returncode == -9


def _bundles(studio: Studio, number: int) -> list[str]:
    library = studio.library(None)
    ids = []
    for n in range(number):
        png = encode_png(fake_picture(f"bundle {n}", n, 16, 16))
        files = {"sprite.png": png, "strip.png": png}
        files |= {name: f"{name} of {n}".encode() for name in ("layout.json", "tiles.tsx", "map.tmx")}
        ids.append(library.add("tileset", files, Recipe("tileset", f"bundle {n}", 16, 16, n)).id)
    return ids


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


if __name__ == "__main__":
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as name:
        counted = killed_agents(Path(name), int(sys.argv[1]) if len(sys.argv) > 1 else 50)
    print(f"killed agents: {counted}")
    sys.exit(0 if counted.good else 1)
