"""Writes changes of text files in the form that `git apply` takes (git-diff(1), "Generating patch text with -p")."""

from __future__ import annotations

import difflib


def git_diff(name: str, old: str | None, new: str) -> str:
    """Returns the patch of one file; `old` is None where the file is new. Empty where nothing changes."""
    if old == new:
        return ""
    head = f"diff --git a/{name} b/{name}\n" + ("new file mode 100644\n" if old is None else "")
    before = "/dev/null" if old is None else f"a/{name}"
    lines = difflib.unified_diff(_lines(old or ""), _lines(new), before, f"b/{name}")
    return head + "".join(line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in lines)


def _lines(text: str) -> list[str]:
    """Splits the text into lines with their ends. Only \\n ends a line for git."""
    return [f"{line}\n" for line in text.split("\n")[:-1]] + ([last] if (last := text.rsplit("\n", 1)[-1]) else [])
