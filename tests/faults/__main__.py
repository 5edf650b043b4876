"""Run all faults and print counts: `make test-faults` (10 minutes at most). Ends with 1 where a promise is broken."""

from __future__ import annotations

import logging
import sys
import tempfile
from pathlib import Path

from tests.faults.agents import killed_agents
from tests.faults.disk import full_disk
from tests.faults.kills import kills_at_system_calls, random_kills
from tests.faults.races import race
from tests.faults.soak import soak


def main() -> int:
    logging.disable(logging.WARNING)  # repairs are logged, and are what is counted here
    good = True
    memory = Path("/dev/shm")  # many small files, each flushed: on a disk this takes an hour
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as name:
        folder = Path(name)

        killed = random_kills(folder, 200)
        print(f"random kills: {killed}")
        good &= killed.kills == 200 and not killed.half and not killed.wrong_undo

        traced = kills_at_system_calls(folder, 150)
        if traced is None:
            print("kills at system calls: left out, strace is missing (apt-get install strace)")
        else:
            print(f"kills at system calls: {traced}")
            good &= traced.kills > 0 and not traced.half and not traced.wrong_undo

        agents = killed_agents(folder / "agents", 20)
        print(f"killed agents: {agents}")
        good &= agents.good and agents.kills >= 20

        raced = race(folder)
        print(f"races: {dict(raced)}")
        bad = ("was changed", "deployed again", "has not ended", "other error", "servers_failed", "chain_broken")
        good &= not any(raced[name] for name in bad)

        full = full_disk(folder)
        print(f"full disk: {dict(full) if full else 'left out, it needs root and mount'}")
        good &= full is None or not (full["half"] or full["refused without a reason"])

        soaked = soak(folder)
        print(f"soak: {soaked}")
        good &= soaked["growth_percent"] <= 5 and soaked["files_at_the_end"] <= soaked["files_after_a_third"]
        good &= not soaked.get("failed")
    print("every promise was kept" if good else "A PROMISE IS BROKEN: see above")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
