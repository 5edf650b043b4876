"""Time deploys into a local game and into one that has an agent, over HTTP on loopback.

`python -m tests.bench.server.remote_deploys`: in turns, medians of 30, without asking a running game. The agent is a
process of its own.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from fastmcp import FastMCP

from pipelines.pixels.png import encode_png
from pipelines.records import Recipe
from server.agent.routes import agent_routes
from server.deploy.deploy import deploy
from server.settings import Settings
from server.studio import Studio
from server.users import USER, Users
from tests.fakes import fake_picture
from tests.server.deploy import crash
from tests.server.desk.serving import served

RUNS = 30


def main(folder: Path) -> None:
    """Prints the medians in milliseconds."""
    here, there = folder / "here", folder / "there"
    for root in (here, there):
        crash.make_game(root)
    settings = Settings(data_dir=folder / "data", preload="none")
    users = Users(settings.data_dir)
    token = users.add("ann", [here])
    studio = Studio(settings)
    USER.set(users.named("ann"))
    library = studio.library(None)
    assets = []
    for n in range(RUNS):
        png = encode_png(fake_picture(f"sprite {n}", n, 32, 32))
        assets.append(library.add("sprite", {"sprite.png": png}, Recipe("sprite", f"sprite {n}", 32, 32, n)).id)
    server = FastMCP("agents")
    for route in agent_routes(lambda: studio.remote, users, lambda *_: None):
        server.custom_route(route.path, ["POST"])(route.endpoint)
    environment = {**os.environ, "DGX_PIXELS_HTTP_TOKEN": token}
    with served(server) as port:
        command = [sys.executable, "-m", "server", "agent", "ann/there", "--connect", f"http://127.0.0.1:{port}"]
        with subprocess.Popen([*command, "--project", str(there)], env=environment, stdout=subprocess.DEVNULL) as agent:
            while not studio.remote.names("ann") or not studio.remote.line("ann/there").connected:
                time.sleep(0.02)
            took: dict[str, list[float]] = {"local": [], "remote": []}
            for n, asset in enumerate(assets):
                for name, project in (("local", str(here)), ("remote", "ann/there")):
                    begun = time.perf_counter()
                    deploy(studio, asset, f"s{n}.png", project, verify=False)
                    took[name].append(1000 * (time.perf_counter() - begun))
            agent.kill()
    studio.close()
    print(", ".join(f"{name} {statistics.median(times):.1f} ms" for name, times in took.items()))


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name:
        main(Path(name))
