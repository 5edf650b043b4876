"""A server on a port of this machine over a fake backend, and the desk of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from server.desk.remote import Address, RemoteDesk
from server.protocol.app import create_server
from server.protocol.http_token import OneToken
from server.settings import Settings
from tests.fakes import FakeBackend
from tests.server.desk.serving import TOKEN, served


@pytest.fixture
def where(game: Path, settings: Settings, backend: FakeBackend) -> Iterator[Address]:
    """The address of the server."""
    quiet = settings.model_copy(update={"preload": "none"})
    with served(create_server(quiet, backend, OneToken(TOKEN))) as port:
        yield Address("127.0.0.1", port, TOKEN)


@pytest.fixture
def desk(where: Address) -> RemoteDesk:
    return RemoteDesk(lambda: where)
