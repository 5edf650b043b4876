"""Backends that actors draw with in the tests of this folder."""

from __future__ import annotations

import time
from typing import Any

from pipelines.engine.backend import OnStep
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


def make_fake(_: Settings) -> CountingBackend:
    """Makes a backend that draws immediately."""
    return CountingBackend()


def make_slow(_: Settings) -> SlowBackend:
    """Makes a backend that takes its time."""
    return SlowBackend()
