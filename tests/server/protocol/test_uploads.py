"""Pictures that a client sends as bytes."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from fastmcp import Client
from fastmcp.exceptions import ToolError

from pipelines.pixels.png import encode_png, read_picture
from server.protocol.app import create_server
from server.settings import Settings
from tests.fakes import FakeBackend, fake_picture

PICTURE = encode_png(fake_picture("red dragon", 1, 16, 16))


def uri(data: bytes, kind: str = "image/png") -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def client(game: Path, settings: Settings) -> AsyncIterator[Client[Any]]:
    async with Client(create_server(settings.model_copy(update={"preload": "none"}), FakeBackend())) as opened:
        yield opened


@pytest.mark.anyio
async def test_a_picture_in_an_argument_is_used_like_a_file(client: Client[Any], game: Path) -> None:
    answer = (await client.call_tool("fix_pixel_art", {"picture": uri(PICTURE)})).structured_content
    assert answer is not None
    (file,) = (game / ".dgx-pixels" / "uploads").iterdir()
    assert file.read_bytes() == PICTURE
    assert (read_picture(Path(answer["paths"][0])) == read_picture(PICTURE)).all()


@pytest.mark.anyio
async def test_the_same_picture_is_kept_once(client: Client[Any], game: Path) -> None:
    for _ in range(2):
        await client.call_tool("fix_pixel_art", {"picture": uri(PICTURE)})
    assert len(list((game / ".dgx-pixels" / "uploads").iterdir())) == 1


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("picture", "message"),
    [
        ("data:text/html;base64,AAAA", "starts with one of"),
        ("data:image/png,AAAA", "starts with one of"),
        ("data:image/png;base64,A*", "base64 is broken"),
        ("data:image/png;base64,é", "base64 is broken"),
        ("data:", "There is no file 'data:'"),
        (uri(b"x" * (5 << 20)), "more than 4 MB"),
        (uri(b"%!PS-Adobe"), "picture"),
    ],
)
async def test_what_is_not_a_picture_is_refused(client: Client[Any], game: Path, picture: str, message: str) -> None:
    with pytest.raises(ToolError, match=message):
        await client.call_tool("fix_pixel_art", {"picture": picture})


@pytest.mark.anyio
async def test_a_prompt_that_begins_with_data_is_a_prompt(client: Client[Any]) -> None:
    answer = (await client.call_tool("generate_sprite", {"prompt": "data: an android", "size": 16})).structured_content
    assert answer is not None
    assert answer["asset_id"]
