"""Two servers with four threads each deploy and undo in one game together; the undo chain must stay whole."""

from __future__ import annotations

import json
import os
import random
import threading
import time
from collections import Counter
from pathlib import Path

from server.deploy.deploy import deploy, undo
from server.errors import ServerError
from server.library.store import sha256
from server.studio import Studio
from tests.server.deploy import crash

PLACES = ("units/hero.png", "units/orc.png", "tiles/grass.png")


def race(folder: Path, servers: int = 2, threads: int = 4, calls: int = 500) -> Counter[str]:
    """Runs the calls (`calls` per thread) and counts what they answered; "chain_broken" counts what is wrong after."""
    root = folder / "race"
    crash.make_game(root)
    studio = crash.open_studio(root)
    ids = crash.add_bundles(studio, 6)
    studio.close()
    started = time.monotonic()
    children = []
    for server in range(servers):
        child, _ = crash.in_a_child(lambda server=server: _serve(root, ids, server, threads, calls))
        children.append(child)
    failed = [child for child in children if os.waitpid(child, 0)[1] != 0]
    total: Counter[str] = Counter()
    for path in sorted(folder.glob("race-*.json")):
        total.update(json.loads(path.read_text()))
    total["servers_failed"] = len(failed)
    total["chain_broken"] = check_chain(root)
    total["seconds"] = round(time.monotonic() - started)
    return total


def _serve(root: Path, ids: list[str], server: int, threads: int, calls: int) -> None:
    studio = crash.open_studio(root)
    answers: Counter[str] = Counter()
    lock = threading.Lock()

    def work(number: int) -> None:
        draw = random.Random(server * 100 + number)
        for _ in range(calls):
            answer = _call(studio, ids, draw)
            with lock:
                answers[answer] += 1

    workers = [threading.Thread(target=work, args=(number,)) for number in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    studio.close()
    (root.parent / f"race-{server}.json").write_text(json.dumps(answers))


def _call(studio: Studio, ids: list[str], draw: random.Random) -> str:
    place = draw.choice(PLACES)
    try:
        match draw.randrange(5):
            case 0 | 1 | 2:
                return deploy(studio, draw.choice(ids), place, overwrite=True, verify=False).state
            case 3:
                return undo(studio, place, verify=False).state
            case _:
                return undo(studio, verify=False).state
    except ServerError as error:
        text = str(error)
        for known in ("left to undo", "was changed", "deployed again", "has not ended"):
            if known in text:
                return known
        print(f"  {type(error).__name__}: {text}")
        return "other error"


def check_chain(root: Path) -> int:
    """Counts deployments that do not continue the one before, files that are not as recorded, and undos that fail."""
    studio = crash.open_studio(root)
    library = studio.library(studio.project())
    broken = 0
    held: dict[str, str] = {}
    for deployment in reversed(library.deployments(limit=100_000)):
        for file in deployment.files:
            broken += file.previous != held.get(file.path, "")
            held[file.path] = file.sha256
    assets = root / "assets"
    found = {str(path.relative_to(assets)): sha256(path.read_bytes()) for path in assets.rglob("*") if path.is_file()}
    broken += found != held
    while library.deployments(limit=1):
        try:
            undo(studio, verify=False)
        except ServerError as error:
            print(f"  {error}")
            broken += 1
            break
    broken += any(path.is_file() for path in assets.rglob("*"))
    studio.close()
    return broken
