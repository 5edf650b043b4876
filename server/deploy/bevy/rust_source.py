"""Find places in Rust source where code may be inserted: never inside strings, comments, attributes or macros.

Only as much of the lexical grammar as that needs (The Rust Reference, "Tokens" and "Comments").
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_TOKEN = re.compile(
    r"""
    (?P<doc>///(?!/)[^\n]*|/\*\*(?![*/]))
  | (?P<inner>//![^\n]*|/\*!)
  | (?P<line>//[^\n]*)
  | (?P<block>/\*)
  | (?P<raw>(?:b|c)?r(?P<hashes>\#*)")
  | (?P<string>(?:b|c)?"(?:\\.|[^"\\])*")
  | (?P<char>b?'(?:\\(?:x[0-9a-fA-F]{2}|u\{[^}]{1,16}\}|.)|[^'\\\n])')
  | (?P<lifetime>'[A-Za-z_]\w*)
  | (?P<word>(?:r\#)?[A-Za-z_]\w*)
  | (?P<number>\d[\w.]*)
  | (?P<space>\s+)
  | (?P<sign>.)
    """,
    re.VERBOSE | re.DOTALL,
)
MOST_CALLS = 100
"""Of one method in one file: the closing bracket of each is looked for through the rest of the file."""
_BLOCK = re.compile(r"/\*|\*/")


@dataclass(frozen=True, slots=True)
class Token:
    """A piece of source. `kind`: word, sign, string, number, doc (an outer doc comment) or inner (an inner one)."""

    kind: str
    text: str
    start: int
    end: int


class NotRust(Exception):
    """The source ends inside a comment, a string or a bracket, or is not a person's."""


def tokens(source: str) -> list[Token]:
    """Splits Rust source into tokens, without spaces and plain comments.

    Raises:
        NotRust: a comment or a string does not end.
    """
    found: list[Token] = []
    at = 0
    while at < len(source):
        match = _TOKEN.match(source, at)
        assert match is not None  # `sign` takes any character
        kind, end = str(match.lastgroup), match.end()
        if match["hashes"] is not None:
            kind, close = "raw", '"' + match["hashes"]
            end = source.find(close, end) + len(close)
            if end < len(close):
                raise NotRust("A raw string does not end.")
        elif source.startswith("/*", at):
            end = _comment_end(source, at)
        elif kind == "sign" and match.group() == '"':
            raise NotRust("A string does not end.")
        if kind not in ("line", "block", "space"):
            text = source[at:end]
            kinds = {"raw": "string", "char": "string", "lifetime": "word"}
            found.append(Token(kinds.get(kind, kind), text, at, end))
        at = end
    return found


def _comment_end(source: str, start: int) -> int:
    """Returns the end of a block comment; block comments nest."""
    depth = 0
    for mark in _BLOCK.finditer(source, start):
        depth += 1 if mark.group() == "/*" else -1
        if depth == 0:
            return mark.end()
    raise NotRust("A block comment does not end.")


def closing(code: list[Token], opening: int) -> int:
    """Returns the index of the bracket that closes the one at `opening`.

    Raises:
        NotRust: it is not closed.
    """
    pairs = {"(": ")", "[": "]", "{": "}"}
    stack: list[str] = []
    for index in range(opening, len(code)):
        token = code[index]
        if token.kind != "sign":
            continue
        if token.text in pairs:
            stack.append(pairs[token.text])
        elif token.text in pairs.values():
            if not stack or stack.pop() != token.text:
                raise NotRust("The brackets do not match.")
            if not stack:
                return index
    raise NotRust("A bracket is not closed.")


def calls(code: list[Token], method: str) -> list[tuple[int, int]]:
    """Returns the method calls `.method(...)`: the indices of the name and of its closing parenthesis."""
    names = [
        index
        for index in range(1, len(code) - 1)
        if code[index].kind == "word" and code[index].text == method
        if code[index - 1].text == "." and code[index + 1].text == "("
    ]
    if len(names) > MOST_CALLS:
        raise NotRust(f"It calls {method} {len(names)} times.")
    return [(index, closing(code, index + 1)) for index in names]


def in_macro(code: list[Token], index: int) -> bool:
    """Returns whether a token stands inside a macro's brackets or an attribute: what is there need not be code."""
    depth = 0
    for at in range(index - 1, -1, -1):
        text = code[at].text if code[at].kind == "sign" else ""
        if text in (")", "]", "}"):
            depth += 1
        elif text in ("(", "[", "{"):
            if depth:
                depth -= 1
            elif (at and code[at - 1].text in ("!", "#")) or (at > 2 and code[at - 3].text == "macro_rules"):
                return True
    return False


def first_item(source: str, code: list[Token]) -> int:
    """Returns where a file's first item begins, with its attributes and doc comments, after the file's own ones."""
    index = 0
    while index < len(code):
        token = code[index]
        if token.kind == "inner":
            index += 1
        elif token.text == "#" and [t.text for t in code[index + 1 : index + 3]] == ["!", "["]:
            index = closing(code, index + 2) + 1
        else:
            return token.start
    return len(source)
