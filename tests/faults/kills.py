"""Kill deploys and undos: at random moments, and before every system call that changes a file (with strace)."""

from __future__ import annotations

import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from tests.server.deploy import crash

CALLS = (
    "write,pwrite64,rename,renameat,renameat2,link,linkat,unlink,unlinkat,mkdir,mkdirat,rmdir,ftruncate,fallocate,"
    "fsync,fdatasync"
)
"""System calls that change a file; SQLite's are among them."""


@dataclass
class Count:
    """What the kills left."""

    kills: int = 0
    repaired: int = 0
    """Kills between the journal's row and its end, which the next process repaired."""
    half: int = 0
    wrong_undo: int = 0
    seconds: float = 0.0
    places: int = 0
    """System calls at which a kill was possible."""

    def __str__(self) -> str:
        of = f" of {self.places} places" if self.places else ""
        return (
            f"{self.kills}{of}, repaired {self.repaired}, half bundles {self.half}, wrong undo {self.wrong_undo} "
            f"({self.seconds:.0f} s)"
        )


def random_kills(folder: Path, kills: int, seed: int = 1) -> Count:
    """Kills a process that deploys and undoes bundles of five, and checks bundle, chain and undo each time."""
    count, draw, started = Count(), random.Random(seed), time.monotonic()
    root = folder / "random"
    crash.make_game(root)
    studio = crash.open_studio(root)
    ids = crash.add_bundles(studio, 4)
    studio.close()
    chain: list[int] = []
    while count.kills < kills:
        begun, ended = _killed_while_busy(root, ids, draw)
        for action in ended:
            chain = _after(chain, action, ids)
        count.kills += 1
        count.repaired += crash.is_cut_off(root)
        try:
            chain = crash.check(root, chain, _after(chain, begun, ids) if begun else chain)
        except AssertionError as error:
            count.half += 1
            print(f"  kill {count.kills}: {error}")
            break
        try:
            if draw.random() < 0.5:
                studio = crash.open_studio(root)
                crash.act(studio, "undo")
                studio.close()
                chain = crash.check(root, chain[:-1], chain[:-1])
        except AssertionError as error:
            count.wrong_undo += 1
            print(f"  undo after kill {count.kills}: {error}")
            break
    try:
        crash.check_undo(root, chain)
    except AssertionError as error:
        count.wrong_undo += 1
        print(f"  the last undos: {error}")
    count.seconds = time.monotonic() - started
    return count


def _after(chain: list[int], action: str, ids: list[str]) -> list[int]:
    if action == "undo":
        return chain[:-1]
    number = ids.index(action.partition(":")[2])
    return chain if chain[-1:] == [number] else [*chain, number]  # an identical deploy is not recorded


def _killed_while_busy(root: Path, ids: list[str], draw: random.Random) -> tuple[str, list[str]]:
    """Kills a child at a random moment; returns the action that it was in, and those that had ended."""
    read, write = os.pipe()
    actions = [draw.choice([*(f"deploy:{i}" for i in ids), "undo"]) for _ in range(200)]

    def work() -> None:
        studio = crash.open_studio(root)
        for action in actions:
            os.write(write, b"b")
            crash.act(studio, action)
            os.write(write, b"e")

    child, _ = crash.in_a_child(work)
    os.close(write)
    os.read(read, 1)  # the first action has begun
    time.sleep(draw.uniform(0, 0.25))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    with os.fdopen(read, "rb") as pipe:
        marks = b"b" + pipe.read()
    ended = marks.count(b"e")
    return (actions[ended] if marks.count(b"b") > ended else ""), actions[:ended]


def kills_at_system_calls(folder: Path, most_seconds: float) -> Count | None:
    """Kills a deploy, a replacing deploy and an undo at system calls, evenly spread where the time is short.

    Returns None where strace is missing or may not trace.
    """
    if not shutil.which("strace"):
        return None
    count, started = Count(), time.monotonic()
    for stage in ("first", "replace", "undo"):
        root = folder / f"calls-{stage}"
        base = folder / f"calls-{stage}-base"
        crash.make_game(base)
        studio = crash.open_studio(base)
        one, two = crash.add_bundles(studio, 2)
        before: list[int] = []
        if stage != "first":
            crash.act(studio, f"deploy:{one}")
            before = [0]
        studio.close()
        action = {"first": f"deploy:{one}", "replace": f"deploy:{two}", "undo": "undo"}[stage]
        after = {"first": [0], "replace": [0, 1], "undo": []}[stage]
        shutil.copytree(base, root)
        calls = _calls_of(root, action)
        if not calls:
            return None
        count.places += len(calls)
        until = started + most_seconds * (("first", "replace", "undo").index(stage) + 1) / 3
        order = sorted(range(len(calls)), key=lambda i: (i % 8, i))  # every eighth first, then those between
        for index in order:
            if time.monotonic() > until:
                break
            name, nth = calls[index]
            shutil.rmtree(root)
            shutil.copytree(base, root)
            _trace(root, action, ["-e", f"inject={name}:signal=KILL:when={nth}"])
            count.kills += 1
            count.repaired += crash.is_cut_off(root)
            try:
                now = crash.check(root, before, after)
            except AssertionError as error:
                count.half += 1
                print(f"  {stage}, {name} {nth}: {error}")
                continue
            try:
                crash.check_undo(root, now)
            except AssertionError as error:
                count.wrong_undo += 1
                print(f"  {stage}, {name} {nth}, undo: {error}")
    count.seconds = time.monotonic() - started
    return count


def _trace(root: Path, action: str, options: list[str]) -> str:
    log = root.parent / "strace.log"
    command = ["strace", "-f", "-qq", "-o", str(log), "-e", f"trace={CALLS}", *options]
    command += [sys.executable, "-m", "tests.server.deploy.crash", str(root), action]
    subprocess.run(command, check=False, capture_output=True, timeout=120)
    return log.read_text(errors="replace") if log.exists() else ""


def _calls_of(root: Path, action: str) -> list[tuple[str, int]]:
    """The system calls of an action that is not killed: (name, how many of that name there were), from its begin on."""
    seen: dict[str, int] = {}
    calls: list[tuple[str, int]] = []
    begun = False
    for line in _trace(root, action, []).splitlines():
        found = re.match(r"(?:\d+\s+)?(\w+)\(", line)
        if not found:
            continue
        name = found[1]
        seen[name] = seen.get(name, 0) + 1
        begun = begun or crash.BEGIN in line
        if begun:
            calls.append((name, seen[name]))
    return calls[1:]
