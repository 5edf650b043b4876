"""The results page shows what the library holds, stays one file, and takes votes only from itself."""

from __future__ import annotations

import json
import re
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest
from fastmcp import Client
from mcp_types import TextResourceContents

from pipelines.records import Recipe
from server.errors import ServerError
from server.gallery.build import gallery_page, write_gallery
from server.gallery.serve import gallery_server
from server.library.records import Asset
from server.library.store import Library
from server.protocol.app import create_server
from server.studio import Studio
from tests.fakes import FakeBackend

PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d49484452000000010000000108060000001f15c4890000000d49444154789c6360f8cf50"
    "0f0003860180345a7fe60000000049454e44ae426082"
)


def data_of(page: str) -> dict[str, Any]:
    found = re.search(r'<script id="data" type="application/json">(.*?)</script>', page, re.DOTALL)
    assert found
    return json.loads(found[1])


def test_every_asset_is_on_the_page_with_its_picture_and_recipe(tmp_path: Path) -> None:
    library = Library(tmp_path)
    asset = library.add("sprite", {"sprite.png": PNG}, Recipe("sprite", "red key", 1, 1, 7), {"gates": {"size": True}})
    data = data_of(gallery_page(library, "my_game"))
    entry = data["assets"][0]
    assert (entry["id"], entry["prompt"], entry["width"], entry["gates"]) == (asset.id, "red key", 1, {"size": True})
    assert entry["png"].startswith("data:image/png;base64,")
    assert entry["recipe"]["seed"] == 7


def test_a_sheet_plays_an_arrangement_lies_still_and_a_tileset_shows_its_map(tmp_path: Path) -> None:
    library = Library(tmp_path)
    layout = {"tile_size": [1, 1], "columns": 1, "rows": 1}
    still = {"sheet": {**layout, "animations": {}}, "palette": ["aabbcc"]}
    playing = {"sheet": {**layout, "animations": {"idle": {"first": 0, "last": 0, "fps": 8, "loop": True}}}}
    library.add("sheet", {"sheet.png": PNG}, Recipe("sheet", "items", 1, 1, 7), details=still)
    library.add("sheet", {"sheet.png": PNG}, Recipe("sheet", "goblin", 1, 1, 7), details=playing)
    library.add("tileset", {"tiles.png": PNG, "preview.png": PNG}, Recipe("tileset", "shore", 1, 1, 7))
    entries = {entry["prompt"]: entry for entry in data_of(gallery_page(library))["assets"]}
    assert entries["goblin"]["sheet"]["animations"]
    assert entries["items"]["sheet"] is None
    assert entries["items"]["palette"] == ["aabbcc"]
    assert entries["shore"]["map"].startswith("data:image/png")
    assert entries["goblin"]["map"] is None


def test_a_prompt_cannot_end_the_script(tmp_path: Path) -> None:
    library = Library(tmp_path)
    library.add("sprite", {"sprite.png": PNG}, Recipe("sprite", "</script><script>alert(1)</script>", 1, 1, 7))
    page = gallery_page(library)
    assert data_of(page)["assets"][0]["prompt"] == "</script><script>alert(1)</script>"
    assert "alert(1)</script>" not in page


def test_the_page_loads_nothing_from_elsewhere(tmp_path: Path) -> None:
    path = write_gallery(Library(tmp_path))
    assert not re.search(r"(src|href)=.?https?:|url\(|import ", path.read_text(encoding="utf-8"))


def test_an_asset_whose_file_is_gone_is_left_out(tmp_path: Path) -> None:
    library = Library(tmp_path)
    asset = library.add("sprite", {"sprite.png": PNG}, Recipe("sprite", "red key", 1, 1, 7))
    library.path(asset).unlink()
    assert data_of(gallery_page(library))["assets"] == []


def test_a_large_library_is_written_as_pages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("server.gallery.build.PAGE_SIZE", 2)
    library = Library(tmp_path)
    for number in range(5):
        library.add("sprite", {"sprite.png": PNG}, Recipe("sprite", f"key {number}", 1, 1, number))
    (tmp_path / "gallery-4.html").write_text("of a time with more assets")
    first = write_gallery(library, "my_game", [{"id": "c", "prompt": "which?", "options": [], "voted": None}])
    names = ["gallery.html", "gallery-2.html", "gallery-3.html"]
    assert first == tmp_path / names[0]
    assert sorted(path.name for path in tmp_path.glob("*.html")) == sorted(names)
    pages = [data_of((tmp_path / name).read_text(encoding="utf-8")) for name in names]
    assert [[asset["prompt"] for asset in page["assets"]] for page in pages] == [
        ["key 4", "key 3"],
        ["key 2", "key 1"],
        ["key 0"],
    ]
    assert [(page["page"], page["pages"], page["total"]) for page in pages] == [(n, names, 5) for n in (1, 2, 3)]
    assert [len(page["comparisons"]) for page in pages] == [1, 0, 0]


def test_values_of_a_foreign_library_cannot_load_or_break_the_page(tmp_path: Path) -> None:
    library = Library(tmp_path)
    details = {
        "sheet": {"tile_size": ["1", 1], "columns": 0, "animations": {"idle": {"first": 0, "last": 0, "fps": 0}}},
        "palette": ["aabbcc", "fff;background-image:url(http://elsewhere)", 7],
    }
    report = {"gates": "none", "scores": {"coverage": float("nan")}}
    library.add("sheet", {"sheet.png": PNG}, Recipe("sheet", "goblin", 1, 1, 7), report, details)
    entry = data_of(gallery_page(library))["assets"][0]
    assert (entry["sheet"], entry["palette"], entry["gates"], entry["scores"]) == (
        None,
        ["aabbcc"],
        {},
        {"coverage": None},
    )


@pytest.fixture
def served() -> Iterator[tuple[str, list[tuple[str, str]]]]:
    votes: list[tuple[str, str]] = []

    def vote(comparison: str, winner: str) -> None:
        if comparison == "gone":
            raise ServerError("There is no comparison 'gone'.")
        votes.append((comparison, winner))

    server, address = gallery_server(lambda vote_url, page: f"page {page} {vote_url}", vote)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield address, votes
    server.shutdown()
    server.server_close()
    thread.join()


def ask(url: str, body: bytes | None = None, host: str | None = None) -> tuple[int, str]:
    request = urllib.request.Request(url, data=body, headers={"host": host} if host else {})
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def test_a_vote_reaches_the_library(served: tuple[str, list[tuple[str, str]]]) -> None:
    address, votes = served
    status, page = ask(address)
    assert status == 200
    root = address.split("/", 3)[:3]
    status, _ = ask("/".join(root) + page.removeprefix("page 1 "), b'{"comparison": "c1", "winner": "b"}')
    assert (status, votes) == (200, [("c1", "b")])


def test_each_page_has_an_address(served: tuple[str, list[tuple[str, str]]]) -> None:
    address, _ = served
    for name, number in (("gallery.html", 1), ("gallery-2.html", 2), ("gallery-31.html", 31)):
        assert ask(address + name)[1].startswith(f"page {number} ")
    for name in ("gallery-0.html", "gallery-x.html", "other.html", "gallery-2.html/"):
        assert ask(address + name)[0] == 404


@pytest.mark.parametrize(
    ("path", "body", "host", "status"),
    [
        ("", None, "evil.example", 404),
        ("../vote", b'{"comparison": "c1", "winner": "b"}', None, 404),
        ("vote", b'{"comparison": "c1", "winner": "b"}', "evil.example", 404),
        ("vote", b"no json", None, 400),
        ("vote", b"[1]", None, 400),
        ("vote", b'{"comparison": "gone", "winner": "b"}', None, 409),
        ("vote", b" " * 5000, None, 400),
    ],
)
def test_a_request_that_is_not_a_vote_of_this_page_is_refused(
    served: tuple[str, list[tuple[str, str]]], path: str, body: bytes | None, host: str | None, status: int
) -> None:
    address, votes = served
    assert ask(address + path, body, host)[0] == status
    assert votes == []


@pytest.mark.parametrize("mode", ["auto", "legacy"])
def test_the_page_is_the_app_view_of_the_list_of_assets(studio: Studio, golem: Asset, mode: Any) -> None:
    server = create_server(studio.settings, FakeBackend())

    async def look() -> None:
        async with Client(server, mode=mode) as client:
            tool = next(t for t in await client.list_tools() if t.name == "list_assets")
            assert tool.meta
            uri = tool.meta["ui"]["resourceUri"]
            content = (await client.read_resource(uri))[0]
            assert content.mime_type == "text/html;profile=mcp-app"
            assert isinstance(content, TextResourceContents)
            assert "ui/initialize" in content.text

    anyio.run(look)


def test_a_kit_shows_its_window_and_its_nine_patches(tmp_path: Path) -> None:
    library = Library(tmp_path)
    insets = {"left": 1, "right": 2, "top": 3, "bottom": 4}
    pieces = {"panel": {"rect": [0, 0, 9, 9], "insets": insets}, "icon_key": {"rect": [9, 0, 1, 1]}}
    files = {"sheet.png": PNG, "ui.json": json.dumps({"pieces": pieces}).encode(), "preview.png": PNG}
    library.add("sheet", files, Recipe("sheet", "wood ui", 1, 1, 7))
    entry = data_of(gallery_page(library))["assets"][0]
    assert entry["map"].startswith("data:image/png")
    assert entry["pieces"] == {"panel": {"rect": [0, 0, 9, 9], "insets": [1, 2, 3, 4]}}


@pytest.mark.parametrize("text", ["[]", "{", '{"pieces": 1}', '{"pieces": {"a": {"rect": ["<b>"], "insets": {}}}}'])
def test_a_kit_of_a_foreign_library_cannot_break_the_page(tmp_path: Path, text: str) -> None:
    library = Library(tmp_path)
    library.add("sheet", {"sheet.png": PNG, "ui.json": text.encode()}, Recipe("sheet", "wood ui", 1, 1, 7))
    assert data_of(gallery_page(library))["assets"][0]["pieces"] == {}


def test_an_atlas_brings_its_normal_map_and_its_numbered_picture(tmp_path: Path) -> None:
    library = Library(tmp_path)
    files = {"sheet.png": PNG, "normal.png": PNG, "preview.numbered.png": PNG}
    library.add("sheet", files, Recipe("sheet", "imp atlas", 1, 1, 7))
    library.add("sprite", {"sprite.png": PNG}, Recipe("sprite", "imp", 1, 1, 7))
    entries = {entry["prompt"]: entry for entry in data_of(gallery_page(library))["assets"]}
    assert entries["imp atlas"]["normal"].startswith("data:image/png")
    assert entries["imp atlas"]["map"].startswith("data:image/png")
    assert entries["imp"]["normal"] is None
