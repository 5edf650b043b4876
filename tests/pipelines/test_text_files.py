"""Text files in the encodings that editors write, and tables in the forms that spreadsheets write."""

from __future__ import annotations

import codecs
from pathlib import Path

import pytest

from pipelines.errors import TextError
from pipelines.tables import parse_table
from pipelines.text_files import decode_text, encode_like, read_json, read_text

TEXT = "grüner Kobold\nzweite Zeile\n"


@pytest.mark.parametrize(
    "data",
    [
        TEXT.encode(),
        codecs.BOM_UTF8 + TEXT.encode(),
        codecs.BOM_UTF16_LE + TEXT.encode("utf-16-le"),
        codecs.BOM_UTF16_BE + TEXT.encode("utf-16-be"),
        TEXT.replace("\n", "\r\n").encode(),
        TEXT.replace("\n", "\r").encode(),
    ],
    ids=["utf-8", "bom", "utf-16-le", "utf-16-be", "crlf", "cr"],
)
def test_every_encoding_with_a_known_sign_reads_as_the_same_text(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(data)
    assert read_text(tmp_path / "a.txt") == TEXT


@pytest.mark.parametrize(
    ("data", "says"),
    [
        ("eins\nzwei\ngrün".encode("latin-1"), r"a\.txt, line 3: the byte 0xfc is not UTF-8 text.*UTF-8"),
        ("ab".encode("utf-16-le"), r"a\.txt, line 1: a zero byte"),
        (codecs.BOM_UTF16_LE + "ab\n".encode("utf-16-le") + b"c", r"a\.txt, line 2: the byte 0x63 is not UTF-16"),
        ("ab".encode("utf-32"), r"a\.txt is UTF-32 text"),
    ],
    ids=["latin-1", "utf-16 without bom", "half a letter", "utf-32"],
)
def test_other_encodings_are_refused_with_file_and_line(data: bytes, says: str) -> None:
    with pytest.raises(TextError, match=says):
        decode_text(data, "a.txt")


@pytest.mark.parametrize(
    "original",
    [
        b"a\n",
        codecs.BOM_UTF8 + b"a\r\n",
        codecs.BOM_UTF16_LE + "ä\r\n".encode("utf-16-le"),
    ],
)
def test_a_file_that_is_written_back_keeps_its_encoding_and_line_ends(original: bytes) -> None:
    assert encode_like(decode_text(original, "a"), original) == original


def test_a_mistake_in_json_names_the_file_and_the_line(tmp_path: Path) -> None:
    (tmp_path / "w.json").write_text('{\n"a": 1,\n}', encoding="utf-8")
    with pytest.raises(TextError, match=r"w\.json, line 3: this is not JSON"):
        read_json(tmp_path / "w.json")


@pytest.mark.parametrize(
    "text",
    [
        "prompt,name\nred potion,red\nblue potion,blue\n",
        "prompt;name\nred potion;red\nblue potion;blue\n",
        "prompt\tname\nred potion\tred\nblue potion\tblue\n",
        "sep=;\nprompt;name\nred potion;red\nblue potion;blue\n",
        "\nprompt,name\n,\nred potion,red\n\nblue potion,blue\n,\n",
        '"prompt","name"\n"red potion","red"\n"blue potion",blue',
        "prompt, name,\n red potion , red,\nblue potion,blue,\n",
    ],
    ids=["comma", "semicolon", "tab", "excel", "blank rows", "quotes", "spaces and a last comma"],
)
def test_every_form_of_a_table_reads_as_the_same_rows(text: str) -> None:
    rows = parse_table(text, "t.csv").rows
    assert rows == ({"prompt": "red potion", "name": "red"}, {"prompt": "blue potion", "name": "blue"})


def test_a_header_is_found_in_any_case_and_rows_know_their_lines() -> None:
    table = parse_table('PROMPT;Name\n;\n"a; b";x\n"two\nlines";y\nc;z\n', "t.csv")
    assert table.column("prompt") == "PROMPT"
    assert table.column("name") == "Name"
    assert table.column("seed") is None
    assert [row["PROMPT"] for row in table.rows] == ["a; b", "two\nlines", "c"]
    assert table.lines == (3, 4, 6)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('prompt,name\n"red potion,red\nblue potion,blue\n', r"t\.csv, line 2: a double quote is opened.*prompt, name"),
        ('prompt,name\na,b\n"red" potion,red\n', r"t\.csv, line 3: .*prompt, name"),
        ("prompt,name\nred, glowing potion,red\n", r"t\.csv, line 2: 3 values, but the header has 2 \(prompt, name\)"),
        ("prompt,Prompt\na,b\n", r"t\.csv, line 1: the header names the column 'prompt' twice"),
        ("\n\n", r"t\.csv has no header"),
    ],
    ids=["open quote", "text after a quote", "too many values", "a column twice", "empty"],
)
def test_a_table_with_a_mistake_names_file_line_and_header(text: str, says: str) -> None:
    with pytest.raises(TextError, match=says):
        parse_table(text, "t.csv")
