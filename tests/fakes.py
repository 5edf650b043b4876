"""A deterministic Backend for tests of queue, cancel, server and workflows: pictures are a function of the request."""

from __future__ import annotations

import hashlib
import threading
from typing import Any

import numpy as np

from pipelines.engine.backend import OnStep
from pipelines.errors import ModelError
from pipelines.records import Drawing, DrawRequest, ModelInfo, Pixels


def fake_picture(prompt: str, seed: int, width: int, height: int) -> Pixels:
    """A blob of a few flat colours on a transparent ground, the same for the same words and seed."""
    digest = hashlib.sha256(f"{prompt}|{seed}".encode()).digest()
    rng = np.random.default_rng(int.from_bytes(digest[:8], "little"))
    colors = rng.integers(0, 256, (4, 3), dtype=np.uint8)
    y, x = np.mgrid[0:height, 0:width]
    inside = ((x - width / 2 + 0.5) / (width * 0.4)) ** 2 + ((y - height / 2 + 0.5) / (height * 0.4)) ** 2 < 1
    picture = np.zeros((height, width, 4), np.uint8)
    picture[..., :3] = colors[(x * 4 // max(width, 1) + y * 3 // max(height, 1)) % 4]
    picture[..., 3] = np.where(inside, 255, 0)
    return picture


class FakeBackend:
    """Draws immediately, or step by step as a test lets it: `gate` blocks each step until the test releases it."""

    def __init__(self, steps: int = 4) -> None:
        self.steps = steps
        self.requests: list[DrawRequest] = []
        self.gate: threading.Semaphore | None = None
        self.resident: list[str] = []
        self.known = {"embedded"}

    def draw(self, request: DrawRequest, on_step: OnStep) -> Drawing:
        if request.model not in self.known:
            raise ModelError(f"There is no model '{request.model}'. Known: embedded.")
        self.requests.append(request)
        steps = request.steps or self.steps
        for i in range(steps):
            if self.gate is not None:
                self.gate.acquire(timeout=30)
            on_step(i + 1, steps)
        images = tuple(
            fake_picture(p, s, request.width, request.height)
            for p, s in zip(request.prompts, request.seeds, strict=True)
        )
        return Drawing(images, request.model, "fake", steps, request.guidance or 1.0, 0.0, "fake")

    def load(self, model: str) -> None:
        self.resident.append(model)

    def unload(self, model: str) -> None:
        self.resident.remove(model)

    def models(self) -> tuple[ModelInfo, ...]:
        return (ModelInfo("embedded", "fake", "available", "CC0-1.0", (16, 32)),)

    def describe(self) -> dict[str, Any]:
        return {"device": "fake"}
