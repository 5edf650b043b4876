"""Whether a process that was started once is still the same one: a pid alone may have been given to another since.

Knows nothing of jobs. Linux reads /proc; elsewhere `ps` tells the start time.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def identity(pid: int) -> str:
    """A word that no other process ever has: boot and start time. Empty where none runs (a zombie does not)."""
    if sys.platform == "linux":
        try:
            stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
            boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        except OSError:
            return ""
        # The name stands in brackets and may hold anything; fields 3 (state) and 22 (start, in clock ticks) come after.
        fields = stat.rpartition(")")[2].split()
        return "" if fields[0] in "ZX" else f"{boot}:{fields[19]}"
    answer = subprocess.run(["ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return answer.stdout.strip()


def is_running(pid: int, started: str) -> bool:
    """Whether the process that had this pid and `identity` still runs."""
    return bool(started) and identity(pid) == started
