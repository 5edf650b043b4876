"""Implement `Backend` with diffusers: keep models resident and turn a DrawRequest into pictures.

The order is encode the prompt, denoise, decode. Only the engine's worker thread calls it.
"""

from __future__ import annotations

import time
import traceback
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from pipelines import tracing
from pipelines.adapters.stack import WeightStack
from pipelines.embedded.words import read_prompt, without_parts
from pipelines.engine import hardware
from pipelines.engine.backend import OnStep
from pipelines.engine.hardware import free_bytes
from pipelines.engine.light_imports import without_collections
from pipelines.errors import InvalidRequest, ModelError, OutOfMemory
from pipelines.models.catalog import (
    SDXL_FAMILY,
    Model,
    embedded_model,
    family_infos,
    find_model,
    preset_lora,
    preset_of,
    pulled_infos,
    sdxl_info,
)
from pipelines.models.extras import ip_adapter, scribble
from pipelines.models.presets import PRESETS, Preset
from pipelines.plain.drawing import PlainModels
from pipelines.records import Drawing, DrawRequest, ModelInfo
from pipelines.sdxl.fast import FastModel
from pipelines.sdxl.loading import (
    Resident,
    load_model,
    pick_device,
    pick_dtype,
    unified_memory,
    weight_bytes,
)
from pipelines.sdxl.picture import Sampling, draw_pictures
from pipelines.sdxl.references import References
from pipelines.sdxl.rows import fix_row_order

MOST_STEPS = 200
WORK, SMALL_WORK = 3 << 30, 1 << 28
"""Memory beside the weights that a drawing takes: SDXL at 1024x1024, and a model that draws single pixels."""


def _in_known_words(model: Model, request: DrawRequest) -> tuple[DrawRequest, tuple[str, ...]]:
    """Translates the prompts into the model's vocabulary. Returns the request and the words without a translation."""
    if model.vocabulary is None:
        return request, ()
    native = request.native or request.width
    readings = [read_prompt(prompt, native) for prompt in request.prompts]
    region = request.region and replace(request.region, prompt=read_prompt(request.region.prompt, native).text)
    told = replace(
        request,
        prompts=tuple(reading.text for reading in readings),
        bare_prompts=tuple(
            read_prompt(bare, native).text if bare else "" for bare in map(without_parts, request.prompts)
        ),
        negative=request.negative and read_prompt(request.negative).text,
        region=region,
    )
    return told, tuple(word for reading in readings for word in reading.unknown)


class DiffusersBackend:
    """SDXL-family models of diffusers on one device."""

    def __init__(
        self,
        device: str | torch.device | None = None,
        find_lora: Callable[[str], Path | str] = Path,
        find_any_lora: Callable[[str], Path | str] | None = None,
        float8: bool = False,
        fixed_rows: bool = False,
        find_adapter: Callable[[], Path] = ip_adapter,
        find_controlnet: Callable[[], Path | None] = scribble,
    ) -> None:
        """Loads nothing. `find_lora` finds a LoRA's file by its name, or raises AdapterError; by default names are
        paths.

        `find_any_lora` does so for LoRAs of other families than SDXL as well; default: as `find_lora`.
        `float8`: models of SDXL's size multiply their linear layers in float8.
        `fixed_rows`: on a CPU, a picture of a model that draws pixels is the same in a batch of any size.
        `find_adapter` returns the folder of the IP-Adapter that reads references (ModelError: there is none);
        `find_controlnet` that of the ControlNet for lines (None: there is none).
        """
        self.device = torch.device(device) if device else pick_device()
        self._find_lora = find_lora
        self._float8 = float8
        self._fixed_rows = fixed_rows
        self._find_adapter = find_adapter
        self._find_controlnet = find_controlnet
        self._plain = PlainModels(self.device, find_any_lora or find_lora, self._admit_bytes, self._make_room)
        self._stacks: dict[str, WeightStack] = {}
        self._fast: dict[str, FastModel] = {}
        self._references: dict[str, References] = {}
        self.residents: OrderedDict[str, Resident] = OrderedDict()
        self._built: dict[str, Resident] = {}

    def adopt(self, resident: Resident) -> FastModel:
        """Adds a model that was built in memory rather than loaded (benches, tests). It is never unloaded."""
        name = resident.model.id
        self._built[name] = self.residents[name] = resident
        return self._made_fast(resident)

    def draw(self, request: DrawRequest, on_step: OnStep) -> Drawing:
        """See `Backend.draw`."""
        begun = time.perf_counter()
        model = self._built[request.model].model if request.model in self._built else find_model(request.model)
        if model.family != SDXL_FAMILY:
            return self._plain.draw(model, request, on_step)
        request, unknown = _in_known_words(model, request)
        plan = plan_sampling(model, request)
        resident = self.resident(model)
        _check(request, resident)
        self._check_room(resident, request)
        references = self._reading(resident) if request.references else None
        if request.lines:
            self._hold(resident)
        try:
            self._merge(resident, request, plan.preset)
            with torch.inference_mode():
                images = draw_pictures(resident, self._fast[model.id], references, request, plan, on_step)
        except torch.OutOfMemoryError as error:
            # half the batch is tried next, and the failed drawing's frames hold its tensors as long as the error lives
            traceback.clear_frames(error.__traceback__)
            self._make_room(model)
            raise OutOfMemory(
                f"{self.device} has no room for {len(request.prompts)} pictures of {request.width}x{request.height}."
            ) from error
        read = (word for prompt in request.prompts for word in resident.prompts.unread_words(prompt))
        unread = dict.fromkeys((*unknown, *read))
        return Drawing(
            images=images,
            model=model.id,
            revision=resident.revision,
            preset=plan.preset.name if plan.preset else "",
            steps=plan.steps,
            guidance=plan.guidance,
            seconds=time.perf_counter() - begun,
            device=str(self.device),
            unknown_words=tuple(unread),
            precision=self._fast[model.id].precision,
        )

    def resident(self, model: Model) -> Resident:
        """Returns the loaded model, loading it where needed (only from the engine's worker, or under its lease).

        Raises:
            ModelError: it cannot be loaded.
            OutOfMemory: it has no room, even alone.
        """
        if model.id not in self.residents:
            dtype = pick_dtype(model, self.device)
            self._admit(model, dtype)
            try:
                with tracing.span("load model", model=model.id), without_collections():
                    resident = load_model(model, self.device, dtype)
            except torch.OutOfMemoryError as error:
                self._make_room(model)
                raise OutOfMemory(f"{self.device} has no room for '{model.id}'.") from error
            self.residents[model.id] = resident
            self._made_fast(resident)
        self.residents.move_to_end(model.id)
        return self.residents[model.id]

    def _reading(self, resident: Resident) -> References:
        """Returns the model's adapter for reference pictures, loaded where needed.

        Raises:
            InvalidRequest: the model takes none.
            ModelError: it was not pulled, or does not fit.
        """
        name = resident.model.id
        if resident.model.draws_pixels:
            raise InvalidRequest(f"'{name}' takes no reference pictures. model='sdxl' does.")
        if name not in self._references:
            folder = self._find_adapter()
            self._admit_beside(resident.model, folder)
            self._references[name] = References(resident, folder)
            self._fast[name].refer(self._references[name])
        return self._references[name]

    def _hold(self, resident: Resident) -> None:
        """Loads the ControlNet that holds the model to lines.

        Raises:
            ModelError: it was not pulled, or does not fit.
        """
        if resident.model.draws_pixels:
            raise InvalidRequest(f"'{resident.model.id}' is not held to lines. model='sdxl' is.")
        if (folder := self._find_controlnet()) is None:
            raise ModelError("The ControlNet is not on this machine. `dgx-pixels models pull scribble` fetches it.")
        fast = self._fast[resident.model.id]
        if not fast.holds_lines:
            self._admit_beside(resident.model, folder)
            fast.hold(resident, folder)

    def _made_fast(self, resident: Resident) -> FastModel:
        if self._fixed_rows and resident.model.draws_pixels and self.device.type == "cpu":
            fix_row_order(resident.unet)
        compiles = not resident.model.draws_pixels
        fast = FastModel(resident.unet, resident.vae, resident.prompts, compiles, resident.tiny_vae, self._float8)
        self._fast[resident.model.id] = fast
        return fast

    def _admit(self, model: Model, dtype: torch.dtype) -> None:
        """Makes room for the model; unloads the model that was unused for longest first.

        Raises:
            OutOfMemory: there is not enough, even alone.
        """
        self._admit_bytes(model, weight_bytes(model, dtype) + (SMALL_WORK if model.draws_pixels else WORK))

    def _admit_bytes(self, model: Model, needed: int) -> None:
        while (free := free_bytes(str(self.device))) < needed and (
            loaded := [name for name in (*self.residents, *self._plain.loaded) if name not in self._built]
        ):
            self.unload(loaded[0])
        if 0 < free < needed:  # 0: a system that does not tell
            raise OutOfMemory(
                f"'{model.id}' needs {needed / 1e9:.1f} GB of memory, and {self.device} has {free / 1e9:.1f} GB left. "
                "Close what else uses it, or draw with model='embedded'."
            )

    def _admit_beside(self, model: Model, folder: Path) -> None:
        """Makes room for the weights of a folder beside a resident model; unloads all other models where it must.

        Raises:
            OutOfMemory: there is not enough even then.
        """
        needed = sum(file.stat().st_size for file in folder.rglob("*.safetensors"))
        if free_bytes(str(self.device)) < needed:
            self._make_room(model)
        if 0 < (free := free_bytes(str(self.device))) < needed:
            raise OutOfMemory(
                f"Beside '{model.id}' {needed / 1e9:.1f} GB of memory are needed, and {free / 1e9:.1f} GB are left. "
                "Close what else uses it, or draw without reference pictures and lines."
            )

    def _check_room(self, resident: Resident, request: DrawRequest) -> None:
        """Refuses a drawing that cannot fit before it begins, where the system would end the process instead.

        CUDA refuses by itself on a card with its own memory; where GPU and CPU share it, the system ends the process
        first. Memory grows with the pixels of the batch; WORK is one picture of 1024x1024.

        Raises:
            OutOfMemory: there is not enough for the batch.
        """
        if self.device.type == "cuda" and not unified_memory():
            return
        share = len(request.prompts) * request.width * request.height / (1024 * 1024)
        needed, free = WORK * share, free_bytes(str(self.device))
        if not resident.model.draws_pixels and 0 < free < needed:
            raise OutOfMemory(
                f"{len(request.prompts)} pictures of {request.width}x{request.height} need about {needed / 1e9:.1f} GB "
                f"of memory, and {free / 1e9:.1f} GB are left."
            )

    def _make_room(self, keep: Model) -> None:
        """Unloads every model but `keep`."""
        loaded = [*self.residents, *self._plain.loaded]
        for name in [name for name in loaded if name != keep.id and name not in self._built]:
            self.unload(name)
        if self.device.type == "cuda":
            torch.cuda.empty_cache()

    def _merge(self, resident: Resident, request: DrawRequest, preset: Preset | None) -> None:
        """Merges the LoRAs of preset, model and request into the resident weights."""
        wanted: list[tuple[Path | str, float]] = []
        if preset and (path := preset_lora(resident.model, preset)):
            wanted.append((path, preset.lora_weight))
        if resident.model.style:
            wanted.append((resident.model.style, preset.style_weight if preset else 1.0))
        wanted += [(self._find_lora(lora.name), lora.weight) for lora in request.loras]
        stack = self._stacks.get(resident.model.id)
        if stack is None:
            if not wanted:
                return
            parts = {name: part for name, part in resident.modules.items() if name != "vae"}
            stack = self._stacks[resident.model.id] = WeightStack(parts)
        before = stack.stack
        try:
            stack.apply(wanted)
        finally:  # a stack that fails while it is merged leaves the pristine weights
            if stack.stack != before:
                self._fast[resident.model.id].weights_changed()
        resident.prompts.state = stack.stack

    def load(self, model: str) -> None:
        """See `Backend.load`."""
        found = find_model(model)
        if found.family == SDXL_FAMILY:
            self.resident(found)
        else:
            self._plain.load(found)

    def unload(self, model: str) -> None:
        """See `Backend.unload`."""
        self.residents.pop(model, None)
        self._plain.loaded.pop(model, None)
        self._stacks.pop(model, None)
        self._fast.pop(model, None)
        self._references.pop(model, None)
        if self.device.type == "cuda":
            torch.cuda.empty_cache()

    def warm(self, should_stop: Callable[[], bool]) -> bool:
        """Captures one shape that was drawn, between requests. False when none is left or a request interrupted it."""
        return any(fast.warm(should_stop) for fast in list(self._fast.values()))

    def models(self) -> tuple[ModelInfo, ...]:
        """See `Backend.models`."""
        residents = {id: resident.model for id, resident in list(self.residents.items())}
        residents |= {id: loaded.model for id, loaded in list(self._plain.loaded.items())}
        shipped = embedded_model()
        infos = [
            ModelInfo(
                id=model.id,
                title=model.title,
                state="resident" if model.id in residents else "available",
                licence=model.licence,
                native_sizes=model.native_sizes,
                presets=model.presets,
                note=model.note,
                commit=model.revision,
            )
            for model in ({shipped.id: shipped} | residents).values()
        ]
        pulled = [sdxl_info(), *family_infos(), *pulled_infos()]
        return (*infos, *(info for info in pulled if info.id not in residents))

    def describe(self) -> dict[str, Any]:
        """See `Backend.describe`."""
        residents = list(self.residents.values())
        return {
            "device": str(self.device),
            "torch": torch.__version__,
            "threads": torch.get_num_threads(),
            "free_megabytes": round(hardware.free_bytes(str(self.device)) / 1e6),
            "machine": hardware.describe()["findings"],  # only what should change: `dgx-pixels doctor` shows all
            "resident": [
                {
                    "model": r.model.id,
                    "dtype": str(r.dtype).removeprefix("torch."),
                    "megabytes": round(r.bytes / 1e6),
                    "prompts": {"hit": r.prompts.hits, "miss": r.prompts.misses},
                    "graphs": self._fast[r.model.id].state() if r.model.id in self._fast else {},
                }
                for r in residents
            ]
            + self._plain.describe(),
        }


def plan_sampling(model: Model, request: DrawRequest) -> Sampling:
    """Returns the request's own values, else the preset's, else the model's.

    Raises:
        InvalidRequest: no such preset, or a value outside its range.
    """
    preset = preset_of(model, request.preset or _default_preset(model, request))
    base = preset or model
    steps = base.steps if request.steps is None else request.steps
    guidance = base.guidance if request.guidance is None else request.guidance
    if preset and preset.part_guidance and any(request.bare_prompts) and request.guidance is None:
        guidance = preset.part_guidance
    low, high = preset.guidance_range if preset else (0.0, 30.0)
    if not 1 <= steps <= MOST_STEPS:
        raise InvalidRequest(f"steps is 1 to {MOST_STEPS}, not {steps}. The default here is {base.steps}.")
    if not low <= guidance <= high:
        raise InvalidRequest(
            f"guidance is {low:g} to {high:g} here, not {guidance:g}. The default is {base.guidance:g}."
        )
    if preset and preset.exact and steps != preset.steps:
        raise InvalidRequest(f"The preset '{preset.name}' takes {preset.steps} steps. Leave steps or the preset out.")
    return Sampling(preset, steps, guidance, base.guided)


def _default_preset(model: Model, request: DrawRequest) -> str:
    """Chooses between "turbo" (plain drawings) and "guided" (everything that the turbo adapter was not taught)."""
    if "turbo" not in model.presets:
        return ""
    turbo = PRESETS["turbo"]
    other = (request.negative, request.init, request.region, request.couple)
    plain = not (any(other) or request.tile_x or request.tile_y)
    fits = request.steps in (None, turbo.steps) and request.guidance in (None, turbo.guidance)
    return "turbo" if plain and fits else "guided"


def _check(request: DrawRequest, resident: Resident) -> None:
    unit = resident.scale * 2 ** (len(resident.unet.config.block_out_channels) - 1)
    for name, pixels in (("width", request.width), ("height", request.height)):
        if pixels < unit or pixels % unit:
            raise InvalidRequest(f"The canvas's {name} is a multiple of {unit} pixels for this model, not {pixels}.")
    if not 0 < request.strength <= 1:
        raise InvalidRequest(f"strength={request.strength} is out of range: give more than 0, at most 1.")
    batch, shape = len(request.prompts), (request.height, request.width)
    if request.init and (len(request.init) != batch or any(i.shape[:2] != shape for i in request.init)):
        raise InvalidRequest(f"init needs {batch} pictures of {request.width}x{request.height}, one for each prompt.")
    if request.mask and (len(request.mask) != len(request.init) or any(m.shape != shape for m in request.mask)):
        raise InvalidRequest("A mask needs a picture to change, of the same size: give init too, one for each mask.")
