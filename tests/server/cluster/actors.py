"""Backends that actors draw with in the tests of this folder."""

from __future__ import annotations

import os
import time
from typing import Any

from pipelines.engine.backend import OnStep
from pipelines.errors import OutOfMemory
from pipelines.records import Drawing, DrawRequest
from server.settings import Settings
from tests.fakes import FakeBackend


class CountingBackend(FakeBackend):
    """Tells how many requests it has drawn as its device."""

    def describe(self) -> dict[str, Any]:
        return {"device": str(len(self.requests))}


class SlowBackend(CountingBackend):
    """Takes 20 ms for a step, so that a test can act while it draws."""

    def draw(self, request: DrawRequest, on_step: OnStep) -> Drawing:
        def step(done: int, total: int) -> None:
            time.sleep(0.02)
            on_step(done, total)

        return super().draw(request, step)


class SmallBackend(CountingBackend):
    """Has room for two pictures."""

    def draw(self, request: DrawRequest, on_step: OnStep) -> Drawing:
        if len(request.prompts) > 2:
            raise OutOfMemory("cuda has no room.")
        return super().draw(request, on_step)


class FatalBackend(CountingBackend):
    """Ends its process at the first step of seed 13, as a fault in a driver would."""

    def draw(self, request: DrawRequest, on_step: OnStep) -> Drawing:
        if 13 in request.seeds:
            on_step(1, 2)
            os.abort()
        return super().draw(request, on_step)


class WarmBackend(CountingBackend):
    """Has something to capture once it has drawn; that takes until it is interrupted."""

    warming = False

    def warm(self, should_stop: Any) -> bool:
        self.warming = bool(self.requests)
        while self.warming and not should_stop():
            time.sleep(0.001)
        if self.warming:
            self.steps = 7  # a later drawing shows that it was interrupted
        self.warming = False
        return False

    def describe(self) -> dict[str, Any]:
        return {"device": "warming" if self.warming else "cool"}


def make_fake(_: Settings) -> CountingBackend:
    """Makes a backend that draws immediately."""
    return CountingBackend()


def make_slow(_: Settings) -> SlowBackend:
    """Makes a backend that takes its time."""
    return SlowBackend()


def make_small(_: Settings) -> SmallBackend:
    """Makes a backend with little memory."""
    return SmallBackend()


def make_fatal(_: Settings) -> FatalBackend:
    """Makes a backend that one request ends."""
    return FatalBackend()


def make_warm(_: Settings) -> WarmBackend:
    """Makes a backend with something to capture."""
    return WarmBackend()
