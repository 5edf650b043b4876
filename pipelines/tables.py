"""The one reader for tables in text files: columns separated by `,` `;` or a tab, with a header line.

Spreadsheets write all three, depending on the computer's language. RFC 4180 rules the quotes.
"""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass

from pipelines.errors import TextError
from pipelines.visible import clipped, visible

TABLE_SUFFIXES = (".csv", ".tsv")
_SEPARATORS = {",": "','", ";": "';'", "\t": "a tab"}


@dataclass(frozen=True, slots=True)
class Table:
    """A table's rows as mappings from the header's column names, and the line of the file where each begins."""

    name: str
    header: tuple[str, ...]
    header_line: int
    rows: tuple[dict[str, str], ...]
    lines: tuple[int, ...]

    def column(self, wanted: str) -> str | None:
        """Returns the header's spelling of a column, found in any case; None if the table does not have it."""
        return next((name for name in self.header if name.casefold() == wanted.casefold()), None)


def parse_table(text: str, name: str) -> Table:
    """Returns the table in a text: blank rows are skipped, values and column names are stripped.

    Args:
        text: the whole file.
        name: what errors call the file.

    Raises:
        TextError: no header, a column twice, a quote that is not closed or in a wrong place, or a row with more values
            than the header has columns; it names the file, the line and the header.
    """
    lines = text.split("\n")
    skipped = 0
    separator = ""
    if declared := re.fullmatch(r"sep=(.)", lines[0].strip(' "'), re.IGNORECASE):  # a line that Excel writes
        separator, skipped = declared[1], 1
    while skipped < len(lines) and not lines[skipped].strip(" ,;\t"):
        skipped += 1
    if skipped == len(lines):
        raise TextError(f"{name} has no header. The first line names the columns, for example: prompt,name")
    separator = separator or _separator(lines[skipped])
    body = "\n".join(lines[skipped:])
    reader = csv.reader(_lines(body), delimiter=separator, strict=True)
    header: tuple[str, ...] = ()
    rows: list[dict[str, str]] = []
    numbers: list[int] = []
    first = skipped + 1
    while True:
        line = skipped + reader.line_num + 1
        try:
            values = [value.strip() for value in next(reader)]
        except StopIteration:
            break
        except csv.Error as error:
            raise TextError(_quotes(name, line, error, header)) from error
        if not any(values):
            continue
        if not header:
            header = _header(values, name, line)
            continue
        if any(values[len(header) :]):
            mark = _SEPARATORS.get(separator, separator)
            raise TextError(
                f"{name}, line {line}: {len(values)} values, but the header has {len(header)} ({_shown(header)}). "
                f"Put a value that holds {mark} into double quotes."
            )
        values += [""] * (len(header) - len(values))
        rows.append({key: value for key, value in zip(header, values, strict=False) if key})
        numbers.append(line)
    return Table(name, header, first, tuple(rows), tuple(numbers))


def _lines(text: str) -> list[str]:
    """Splits into lines with their ends, only at line feeds: `str.splitlines` also cuts at form feeds and U+2028."""
    return [f"{line}\n" for line in text.split("\n")]


def _separator(header: str) -> str:
    """Returns the separator that stands most often in the header outside quotes; a comma where none does."""
    bare = re.sub(r'"[^"]*"', "", header)
    return max(_SEPARATORS, key=lambda mark: (bare.count(mark), mark == ","))


def _header(values: list[str], name: str, line: int) -> tuple[str, ...]:
    folded = [value.casefold() for value in values if value]
    for value in folded:
        if folded.count(value) > 1:
            shown = clipped(visible(value), 40)
            raise TextError(f"{name}, line {line}: the header names the column '{shown}' twice ({_shown(values)}).")
    while values and not values[-1]:
        values = values[:-1]
    return tuple(values)


def _quotes(name: str, line: int, error: csv.Error, header: tuple[str, ...]) -> str:
    known = f" (the header is {_shown(header)})" if header else ""
    if "unexpected end" in str(error):
        return (
            f'{name}, line {line}: a double quote is opened and not closed{known}. Close it, or write "" for a quote.'
        )
    return f'{name}, line {line}: {error}{known}. Put the whole value into double quotes, and write "" for a quote.'


def _shown(header: list[str] | tuple[str, ...]) -> str:
    return clipped(visible(", ".join(header)), 40)
