"""Deploy and undo while the disk is nearly full, on a small tmpfs: an error changes nothing, no bundle is half."""

from __future__ import annotations

import os
import subprocess
from collections import Counter
from pathlib import Path

from server.errors import ServerError
from tests.server.deploy import crash

_MEGABYTES = 4
_FILE = 20_000


def full_disk(folder: Path) -> Counter[str] | None:
    """Tries deploys and undos at many amounts of free room. None where nothing can be mounted."""
    disk = folder / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={_MEGABYTES}m", "tmpfs", str(disk)]
    if os.getuid() != 0 or subprocess.run(mount, check=False, capture_output=True).returncode:
        return None
    try:
        return _try(disk)
    finally:
        subprocess.run(["umount", str(disk)], check=False)


def _try(disk: Path) -> Counter[str]:
    counts: Counter[str] = Counter()
    root = disk / "game"
    crash.make_game(root)
    studio = crash.open_studio(root)
    ids = crash.add_bundles(studio, 3, _FILE)
    filler = disk / "filler"
    chain: list[int] = []
    for kilobytes in range(0, 400, 4):
        for action in (f"deploy:{ids[kilobytes // 4 % 3]}", "undo" if kilobytes % 3 == 0 else f"deploy:{ids[1]}"):
            after = chain[:-1] if action == "undo" else chain
            if action != "undo" and chain[-1:] != [ids.index(action[7:])]:
                after = [*chain, ids.index(action[7:])]
            _fill(filler, kilobytes)
            counts["tries"] += 1
            try:
                crash.act(studio, action)
                counts["done"] += 1
                wanted = after
            except ServerError as error:
                counts["refused"] += 1
                counts["refused without a reason"] += "room" not in str(error)
                wanted = chain
            filler.unlink(missing_ok=True)
            try:
                chain = crash.check(root, wanted, wanted)
            except AssertionError as error:
                counts["half"] += 1
                print(f"  {kilobytes} kB free, {action}: {error}")
                return counts
    studio.close()
    crash.check_undo(root, chain)
    return counts


def _fill(filler: Path, kilobytes: int) -> None:
    """Writes a file that leaves this much room."""
    free = os.statvfs(filler.parent)
    with filler.open("wb") as file:
        file.write(bytes(max(0, free.f_bavail * free.f_frsize - kilobytes * 1024)))
