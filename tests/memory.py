"""The most memory that this process has used."""

from __future__ import annotations

import resource
import sys
from pathlib import Path


def peak() -> int:
    """The peak resident size of this process's program, in bytes.

    On Linux from VmHWM (proc(5)). `ru_maxrss` would be wrong there: a new program inherits the peak of the process that
    started it (getrusage(2)), which is above a gigabyte under pytest.
    """
    status = Path("/proc/self/status")
    if status.is_file():
        line = next(row for row in status.read_text().splitlines() if row.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024
    largest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return largest if sys.platform == "darwin" else largest * 1024
