"""The messages between a server and the agent of a game: their forms, their limits, and how they are signed.

Neither end trusts the other. The server may have been taken over, and must still write nothing outside the game's
assets folder; the agent is a program of one user, and must still harm nothing of the server or of other users.

Each message is signed by HMAC-SHA256 over its kind, session, sequence number and body. The key is the SHA-256 of the
user's token, which is what the server keeps; the token itself is never sent. A session begins with a number that the
agent chose, goes on with one that the server chose, and counts up, so that no message can be used twice. Nothing is
encrypted: TLS or an SSH tunnel does that.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import AfterValidator, Base64Bytes, BaseModel, ConfigDict, Field

from server.library.rows import check_deployed_path

PROTOCOL = 1
HELLO, POLL = "/agent/hello", "/agent/poll"
POLL_SECONDS = 10.0
"""How long the server holds a poll open while there is nothing to do; so late may a changed style arrive."""

MOST_FILES = 64
"""Files of one bundle."""
MOST_FILE_BYTES = 16 << 20
MOST_BUNDLE_BYTES = 32 << 20
MOST_REQUEST = 48 << 20
"""Bytes of a message to the agent: a bundle in base64."""
MOST_ANSWER = 8 << 20
"""Bytes of a message to the server."""
MOST_SCREENSHOT = 4 << 20
MOST_PALETTE = 1 << 20
MOST_STYLE = 64 << 10


def _deployed(path: str) -> str:
    check_deployed_path(path)
    return path


Hex = Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
Text = Annotated[str, Field(max_length=2000)]
Place = Annotated[str, Field(max_length=240), AfterValidator(_deployed)]
"""A path in assets/, by the rules of `server.library.rows.check_deployed_path`."""
AssetId = Annotated[str, Field(pattern=r"^[0-9a-f]{12}$")]
GameName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,31}$")]


class _Message(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


# What the server asks


class File(_Message):
    """A file of a bundle; `path` is relative to assets/."""

    path: Place
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    data: Annotated[Base64Bytes, Field(max_length=MOST_FILE_BYTES)]


class Put(_Message):
    """Write a bundle into the game; the picture is the first file."""

    op: Literal["put"] = "put"
    id: Hex
    asset_id: AssetId
    files: Annotated[tuple[File, ...], Field(min_length=1, max_length=MOST_FILES)]
    overwrite: bool = False
    verify: bool = True


class Undo(_Message):
    """Take the last deployment back, of one picture where given."""

    op: Literal["undo"] = "undo"
    id: Hex
    path: Annotated[str, Field(max_length=240)] = ""
    overwrite: bool = False
    verify: bool = True


class Check(_Message):
    """Look for what stands between a deployed picture and the game's screen."""

    op: Literal["check"] = "check"
    id: Hex


class List(_Message):
    """List what is deployed, the newest first; of some assets where given."""

    op: Literal["list"] = "list"
    id: Hex
    asset_ids: Annotated[tuple[AssetId, ...], Field(max_length=200)] = ()
    limit: Annotated[int, Field(ge=1, le=1000)] = 50


AnyRequest = Put | Undo | Check | List
Request = Annotated[AnyRequest, Field(discriminator="op")]


class Order(_Message):
    """What a poll is answered with."""

    request: Request | None = None


# What the agent answers


class Placed(_Message):
    """The answer to Put and Undo. `verification` is one of `server.library.records.VERIFICATIONS`."""

    op: Literal["placed"] = "placed"
    id: Hex
    state: Literal["written", "replaced", "identical", "undone"]
    asset_id: AssetId
    paths: Annotated[tuple[Place, ...], Field(min_length=1, max_length=2 * MOST_FILES)]
    verification: Literal[
        "reloaded",
        "deployed_not_loaded_by_game",
        "game_not_running",
        "reload_failed",
        "deployed_unverified",
        "not_asked",
    ]
    note: Text = ""
    screenshot: Annotated[Base64Bytes, Field(max_length=MOST_SCREENSHOT)] = b""


class Finding(_Message):
    """One finding of a check."""

    topic: Annotated[str, Field(max_length=100)]
    state: Literal["fine", "advice", "broken"]
    what: Text
    change: Text = ""
    lines: Text = ""


class Findings(_Message):
    """The answer to Check. `style_file`: the game's dgx-pixels.toml; empty where it has none."""

    op: Literal["findings"] = "findings"
    id: Hex
    style_file: Annotated[str, Field(max_length=400)] = ""
    findings: Annotated[tuple[Finding, ...], Field(max_length=100)]


class Deployment(_Message):
    """One line of Deployments."""

    asset_id: AssetId
    path: Place
    files: Annotated[tuple[Place, ...], Field(max_length=2 * MOST_FILES)]
    verification: Annotated[str, Field(max_length=40)] = ""


class Deployments(_Message):
    """The answer to List."""

    op: Literal["deployments"] = "deployments"
    id: Hex
    deployments: Annotated[tuple[Deployment, ...], Field(max_length=1000)]


class Failed(_Message):
    """The answer to a request that was refused or failed; nothing was changed. `error` says what to do."""

    op: Literal["failed"] = "failed"
    id: Hex
    error: Text


Answer = Annotated[Placed | Findings | Deployments | Failed, Field(discriminator="op")]


class Facts(_Message):
    """What the server needs to know of a game to draw for it. `palette` is the file that the style names."""

    package: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
    assets: Annotated[str, Field(min_length=1, max_length=400)]
    bevy_minor: Annotated[int, Field(ge=0, le=999)] = 0
    style: Annotated[str, Field(max_length=MOST_STYLE)] = ""
    palette: Annotated[Base64Bytes, Field(max_length=MOST_PALETTE)] = b""
    palette_ending: Annotated[str, Field(pattern=r"^(\.[a-z]{2,4})?$")] = ""


class Hello(_Message):
    """An agent's first message: which game it speaks for."""

    protocol: Annotated[int, Field(ge=0, le=1000)]
    game: GameName


class Welcome(_Message):
    """The answer to Hello: the session that the following messages are signed with."""

    session: Hex


class Poll(_Message):
    """An agent's other messages: the answer to the last request; the game's facts at first and when they change."""

    answer: Answer | None = None
    facts: Facts | None = None


# Signatures

Kind = Literal["hello", "welcome", "poll", "order"]
USER, SESSION, SEQUENCE, MAC = "DGX-User", "DGX-Session", "DGX-Sequence", "DGX-Mac"


def new_id() -> str:
    """Returns 32 random hex digits."""
    return secrets.token_hex(16)


def key_of(token: str) -> bytes:
    """Returns the key of a token; the server has it as `User.sha256`."""
    return hashlib.sha256(token.encode()).digest()


def sign(key: bytes, kind: Kind, session: str, sequence: int, body: bytes) -> str:
    """Returns the signature of a message in hex."""
    head = f"dgx-pixels agent {PROTOCOL}\n{kind}\n{session}\n{sequence}\n".encode()
    return hmac.new(key, head + body, hashlib.sha256).hexdigest()


def is_signed(key: bytes, kind: Kind, session: str, sequence: int, body: bytes, mac: str) -> bool:
    """Returns whether the signature is right, comparing in constant time."""
    wanted = sign(key, kind, session, sequence, body)
    return mac.isascii() and hmac.compare_digest(wanted, mac)


def files_of(files: Mapping[str, bytes]) -> tuple[File, ...]:
    """Makes the files of a bundle."""
    return tuple(
        File(path=path, sha256=hashlib.sha256(data).hexdigest(), data=base64.b64encode(data))
        for path, data in files.items()
    )
