"""A server for two people with a game each, and pages of theirs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from server.protocol.app import create_server
from server.protocol.users import Tokens
from server.settings import Settings
from server.users import Users
from tests.fakes import FakeBackend
from tests.server.desk.serving import TOKEN, served
from tests.server.web.client import Page


@pytest.fixture
def port(
    game: Path, settings: Settings, backend: FakeBackend, users: Users, monkeypatch: pytest.MonkeyPatch
) -> Iterator[int]:
    monkeypatch.setenv("BRP_EXTRAS_PORT", "1")  # no game listens there
    quiet = settings.model_copy(update={"preload": "none"})
    with served(create_server(quiet, backend, Tokens(users, TOKEN), users)) as port:
        yield port


@pytest.fixture
def open_page(port: int) -> Callable[[str], Page]:
    def opened(token: str) -> Page:
        page = Page(port)
        page.log_in(token)
        return page

    return opened


@pytest.fixture
def ann(open_page: Callable[[str], Page], users: Users, game: Path) -> Page:
    """A page of ann, whose game is `game`."""
    return open_page(users.add("ann", [game]))


@pytest.fixture
def bob(open_page: Callable[[str], Page], users: Users, theirs: Path) -> Page:
    """A page of bob, whose game is `theirs`."""
    return open_page(users.add("bob", [theirs]))
