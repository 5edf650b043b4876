"""Draw with diffusers' own pipelines: prompts in, pictures out, with progress and cancel at every step."""

from __future__ import annotations

import logging
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pipelines import tracing
from pipelines.engine.backend import OnStep
from pipelines.errors import AdapterError, DrawingError, InvalidRequest, OutOfMemory
from pipelines.models.catalog import SDXL, Model, preset_of, revision_of
from pipelines.models.families import FAMILIES
from pipelines.plain.loading import load_pipeline, pipeline_bytes
from pipelines.records import Drawing, DrawRequest, Pixels
from pipelines.sdxl.loading import unified_memory
from pipelines.sdxl.references import on_square

logger = logging.getLogger(__name__)

MOST_STEPS = 200
REFERENCE = 512
"""Least side in pixels of a reference picture as a pipeline gets it."""
WORK = 3 << 30
"""Bytes beside the weights that a drawing takes."""


class PlainModel:
    """One loaded model. Only the engine's worker calls it."""

    def __init__(self, model: Model, device: torch.device, *, whole_files: bool = False) -> None:
        """Loads it.

        Raises:
            ModelError: it cannot be loaded.
        """
        self.model, self.device = model, device
        self.revision = revision_of(model)
        self.dtype = torch.float32 if device.type == "cpu" else torch.bfloat16
        self.pipeline = load_pipeline(model, device, self.dtype, whole_files=whole_files)
        self._stack: tuple[tuple[str, int, float], ...] = ()

    @property
    def bytes(self) -> int:
        """Bytes of the weights."""
        parts = (part for part in self.pipeline.components.values() if isinstance(part, torch.nn.Module))
        return sum(p.numel() * p.element_size() for part in parts for p in part.parameters())

    def draw(self, request: DrawRequest, find_lora: Callable[[str], Path | str], on_step: OnStep) -> Drawing:
        """Draws a batch, each picture from its own seed.

        Raises:
            InvalidRequest: a value out of range.
            AdapterError: a LoRA that does not fit.
            DrawingError: the model drew values that are not numbers.
        """
        begun = time.perf_counter()
        steps, guidance = plan(self.model, request)
        self._set_loras([(Path(find_lora(lora.name)), lora.weight) for lora in request.loras])

        def after_step(pipeline: Any, step: int, timestep: Any, tensors: dict[str, Any]) -> dict[str, Any]:
            on_step(step + 1, steps)  # raising from it ends the pipeline's loop
            return {}

        with torch.inference_mode():
            found = self.pipeline(
                prompt=list(request.prompts),
                width=request.width,
                height=request.height,
                num_inference_steps=steps,
                generator=[torch.Generator().manual_seed(seed) for seed in request.seeds],
                output_type="np",
                callback_on_step_end=after_step,
                **guided(self.model, request, guidance),
                **({"image": [on_square(one, REFERENCE) for one in request.references]} if request.references else {}),
            ).images
        return Drawing(
            images=tuple(_picture(one) for one in found),
            model=self.model.id,
            revision=self.revision,
            steps=steps,
            guidance=guidance,
            seconds=time.perf_counter() - begun,
            device=str(self.device),
        )

    def _set_loras(self, wanted: list[tuple[Path, float]]) -> None:
        """Puts PEFT adapters beside the weights; the same stack as before costs nothing."""
        stack = tuple((str(path), path.stat().st_mtime_ns if path.is_file() else 0, w) for path, w in wanted)
        if stack == self._stack:
            return
        if self._stack:
            self._stack = ()
            self.pipeline.unload_lora_weights()
        if not wanted:
            return
        try:
            for number, (path, _) in enumerate(wanted):
                if path.suffix != ".safetensors":
                    raise AdapterError(f"{path.name} is not a .safetensors file. Pickles are not read.")
                self.pipeline.load_lora_weights(str(path), adapter_name=f"lora{number}", local_files_only=True)
            names = [f"lora{number}" for number in range(len(wanted))]
            self.pipeline.set_adapters(names, [weight for _, weight in wanted])
        except Exception as error:  # PEFT and diffusers raise any error for odd names and shapes
            self.pipeline.unload_lora_weights()
            if isinstance(error, AdapterError):
                raise
            logger.debug("LoRA refused", exc_info=error)
            names = ", ".join(path.stem for path, _ in wanted)
            raise AdapterError(
                f"A LoRA of {names} does not fit '{self.model.id}'. Use one that was trained on {self.model.title}."
            ) from error
        self._stack = stack


class PlainModels:
    """The loaded models of other families than SDXL: one at a time, since they are large."""

    def __init__(
        self,
        device: torch.device,
        find_lora: Callable[[str], Path | str],
        admit: Callable[[Model, int], None],
        make_room: Callable[[Model], None],
    ) -> None:
        """
        Args:
            device: where they draw.
            find_lora: returns the file of a LoRA's name.
            admit: makes room for that many bytes, or raises OutOfMemory.
            make_room: unloads every other model.
        """
        self.device = device
        self.loaded: dict[str, PlainModel] = {}
        self._find_lora, self._admit, self._make_room = find_lora, admit, make_room

    def draw(self, model: Model, request: DrawRequest, on_step: OnStep) -> Drawing:
        """Draws a batch, loading the model if needed. A request that it cannot serve loads nothing.

        Raises:
            InvalidRequest, AdapterError, DrawingError: as `PlainModel.draw`.
            ModelError, OutOfMemory: as `load`; or there is no room for the batch.
        """
        plan(model, request)
        loaded = self.load(model)
        try:
            return loaded.draw(request, self._find_lora, on_step)
        except torch.OutOfMemoryError as error:
            # half the batch is tried next, and the failed drawing's frames hold its tensors as long as the error lives
            traceback.clear_frames(error.__traceback__)
            self._make_room(model)
            raise OutOfMemory(
                f"{self.device} has no room for {len(request.prompts)} pictures of {request.width}x{request.height}."
            ) from error

    def load(self, model: Model) -> PlainModel:
        """Returns the loaded model.

        Raises:
            ModelError: it cannot be loaded.
            OutOfMemory: it has no room, even alone.
        """
        if model.id not in self.loaded:
            self.loaded.clear()
            dtype = torch.float32 if self.device.type == "cpu" else torch.bfloat16
            self._admit(model, pipeline_bytes(model, dtype) + WORK)
            try:
                with tracing.span("load model", model=model.id):
                    self.loaded[model.id] = PlainModel(model, self.device, whole_files=unified_memory())
            except torch.OutOfMemoryError as error:
                self._make_room(model)
                raise OutOfMemory(f"{self.device} has no room for '{model.id}'.") from error
        return self.loaded[model.id]

    def describe(self) -> list[dict[str, Any]]:
        """Returns model, dtype and megabytes of each loaded model, as get_status shows them."""
        return [
            {"model": name, "dtype": str(one.dtype).removeprefix("torch."), "megabytes": round(one.bytes / 1e6)}
            for name, one in list(self.loaded.items())
        ]


def plan(model: Model, request: DrawRequest) -> tuple[int, float]:
    """Returns (steps, guidance) of a request: its own values, else the model's. Loads nothing.

    Raises:
        InvalidRequest: a value out of range, or something that the model cannot do, with the name of one that can.
    """
    preset_of(model, request.preset)
    wishes = {
        "begins with no picture (sketch, edit)": bool(request.init or request.mask),
        "draws nothing that wraps (tiles)": request.tile_x or request.tile_y,
        "blends no second prompt": bool(request.region or request.couple),
        "takes no reference pictures": bool(request.references) and not FAMILIES[model.family].references,
        "takes no negative prompt": bool(request.negative) and not FAMILIES[model.family].negative,
    }
    for wish, asked in wishes.items():
        if asked:
            raise InvalidRequest(f"'{model.id}' {wish}. Leave that out, or draw with model='{SDXL}' or 'embedded'.")
    steps = model.steps if request.steps is None else request.steps
    guidance = model.guidance if request.guidance is None else request.guidance
    low, high = FAMILIES[model.family].guidance_range
    if not 1 <= steps <= MOST_STEPS:
        raise InvalidRequest(f"steps is 1 to {MOST_STEPS}, not {steps}. The default here is {model.steps}.")
    if not low <= guidance <= high:
        raise InvalidRequest(
            f"guidance is {low:g} to {high:g} here, not {guidance:g}. The default is {model.guidance:g}."
        )
    return steps, guidance


def guided(model: Model, request: DrawRequest, guidance: float) -> dict[str, Any]:
    """Returns the arguments of the pipeline for guidance and negative prompt."""
    family = FAMILIES[model.family]
    arguments: dict[str, Any] = {family.guidance_argument: guidance}
    if family.negative and guidance > (1.0 if family.id == "qwen-image" else 0.0):
        arguments["negative_prompt"] = [request.negative or " "] * len(request.prompts)
    return arguments


def _picture(values: np.ndarray) -> Pixels:
    """Converts (h, w, 3) in 0..1 to (h, w, 4) RGBA.

    Raises:
        DrawingError: a value is NaN or infinite.
    """
    if not np.isfinite(values).all():
        raise DrawingError(
            "The model drew values that are not numbers (NaN or infinity), so there is no picture. Draw without LoRAs; "
            "if it happens without any, the model's files are damaged: download them again."
        )
    pixels = np.full((*values.shape[:2], 4), 255, np.uint8)
    pixels[..., :3] = (values * 255).round().clip(0, 255)
    return pixels
