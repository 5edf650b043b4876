"""Make text of unknown origin safe to show: control characters become visible, long text is clipped.

A prompt, a file name or an answer of a game may hold escape sequences that move a terminal's cursor, set its title or
hide what follows. Shown as `\\x1b` they do nothing.
"""

from __future__ import annotations

import re

LONGEST = 2000
"""Characters of a message that a user sees; no message of this package needs more."""

_UNSAFE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f"  # C0 without tab and newline, DEL, C1
    "\u061c\u200b\u200e\u200f\u202a-\u202e\u2060-\u2069\ufeff"  # zero width, bidirectional overrides
    "\u2028\u2029"  # line and paragraph separator
    "\ud800-\udfff\U000e0000-\U000e007f]"  # lone surrogates (bytes of a file name that are not UTF-8), tags
)


def visible(text: str) -> str:
    r"""Writes each control, bidirectional and surrogate character of `text` as its escape (`\x1b`, `\u202e`).

    Tabs and newlines stay. The result can always be encoded as UTF-8.

    >>> visible("red\\x1b[2Jdragon")
    'red\\\\x1b[2Jdragon'
    """
    return _UNSAFE.sub(_escape, text)


def clipped(text: str, most: int = LONGEST) -> str:
    """Cuts `text` to at most `most` characters and marks the cut with an ellipsis."""
    return text if len(text) <= most else f"{text[: most - 1]}…"


def _escape(found: re.Match[str]) -> str:
    code = ord(found[0])
    if code <= 0xFF:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"
