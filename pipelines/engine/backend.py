"""Define the Protocol between the engine and the code that draws, small enough to fake.

`pipelines.sdxl.diffusion.DiffusersBackend` implements it; tests use `tests.fakes.FakeBackend`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from pipelines.records import Drawing, DrawRequest, ModelInfo

OnStep = Callable[[int, int], None]
"""(done, total), called on the worker's thread after every denoise step. Raising from it ends the drawing."""


class Backend(Protocol):
    """What the engine's worker drives. Every call comes from that one thread, except `models` and `describe`."""

    def draw(self, request: DrawRequest, on_step: OnStep) -> Drawing:
        """Draws the batch, loading the model first where needed.

        Raises:
            ModelError: the model is unknown or cannot be loaded.
            AdapterError: a LoRA of the stack cannot be merged.
            InvalidRequest: the size, preset or option does not suit the model.
            OutOfMemory: no room on the device.
        """
        ...

    def load(self, model: str) -> None:
        """Makes the model resident now."""
        ...

    def unload(self, model: str) -> None:
        """Gives the model's memory back; nothing happens where it is not resident."""
        ...

    def models(self) -> tuple[ModelInfo, ...]:
        """Returns the catalog with each model's state; never loads anything."""
        ...

    def describe(self) -> dict[str, Any]:
        """Describes device, memory, models and compile state as JSON values for `get_status`; never loads anything."""
        ...
