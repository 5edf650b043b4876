"""Changes of text files: in the form that `git apply` takes, and taken back in a file that was edited since.

Format: git-diff(1), "Generating patch text with -p".
"""

from __future__ import annotations

import difflib

_MOST_COMPARED = 4_000_000
"""Pairs of lines: files that were edited more than that are left to the user."""


def git_diff(name: str, old: str | None, new: str | None) -> str:
    """Returns the patch of one file, empty where nothing changes.

    Args:
        name: its path.
        old: what it holds; None: there is no such file.
        new: what it is to hold; None: it is removed.
    """
    if old == new:
        return ""
    mode = "new file mode 100644\n" if old is None else "deleted file mode 100644\n" if new is None else ""
    before = "/dev/null" if old is None else f"a/{name}"
    after = "/dev/null" if new is None else f"b/{name}"
    lines = difflib.unified_diff(_lines(old or ""), _lines(new or ""), before, after)
    head = f"diff --git a/{name} b/{name}\n{mode}"
    return head + "".join(line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in lines)


def _lines(text: str) -> list[str]:
    """Splits the text into lines with their ends. Only \\n ends a line for git."""
    return [f"{line}\n" for line in text.split("\n")[:-1]] + ([last] if (last := text.rsplit("\n", 1)[-1]) else [])


def take_back_lines(current: bytes, after: bytes, before: bytes) -> bytes | None:
    """Returns `current` with the change from `before` to `after` taken back; None where lines of that change differ.

    Stricter and simpler than a merge of three files: edits beside the changed lines do not conflict, edits of them do.
    """
    now, new, old = (_byte_lines(data) for data in (current, after, before))
    place = _alignment(new, now)
    if place is None:
        return None
    edits: list[tuple[int, int, list[bytes]]] = []
    for tag, start, end, left, right in difflib.SequenceMatcher(None, new, old, autojunk=False).get_opcodes():
        if tag == "equal":
            continue
        # lines that were only removed come back behind the line that stood above them
        known = range(start, end) if end > start else range(max(start - 1, 0), start)
        found = [place.get(line) for line in known]
        first = 0 if not found else found[0]
        if first is None or found != list(range(first, first + len(found))):
            return None
        at = first if end > start else first + len(found)
        edits.append((at, at + end - start, old[left:right]))
    for start, end, lines in reversed(edits):
        now[start:end] = lines
    ending = b"\r\n" if b"\r\n" in current else b"\n"
    return b"".join(line if line.endswith(b"\n") else line + ending for line in now[:-1]) + b"".join(now[-1:])


def _alignment(old: list[bytes], new: list[bytes]) -> dict[int, int] | None:
    """Returns where the lines of `old` stand in `new`; None where comparing would take too long."""
    same = 0
    while same < min(len(old), len(new)) and old[same] == new[same]:
        same += 1
    rest = (old[same:], new[same:])
    if len(rest[0]) * len(rest[1]) > _MOST_COMPARED:
        return None
    place = {line: line for line in range(same)}
    for block in difflib.SequenceMatcher(None, *rest, autojunk=False).get_matching_blocks():
        place |= {same + block.a + i: same + block.b + i for i in range(block.size)}
    return place


def _byte_lines(data: bytes) -> list[bytes]:
    lines = data.split(b"\n")
    return [line + b"\n" for line in lines[:-1]] + ([lines[-1]] if lines[-1] else [])
