"""Tell whether a process that was started earlier still runs. A pid alone may belong to another process by now."""

from __future__ import annotations


def identity(pid: int) -> str:
    """Returns the start time of a running process, in hundredths of a second; empty where none runs (or a zombie).

    On Linux the time counts from the boot on: it stays the same when the clock is set.
    """
    import psutil

    try:
        process = psutil.Process(pid)
        if process.status() in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD):
            return ""
        started = process.create_time()
    except psutil.Error:
        return ""
    since = started - psutil.boot_time() if psutil.LINUX else started
    return str(round(since * 100))


def is_running(pid: int, started: str) -> bool:
    """Returns whether the process that had this pid and `identity` still runs.

    Job folders of earlier versions have the boot's id before the time ("4f6c...:123456").
    """
    return bool(started) and identity(pid) == started.rpartition(":")[2]
