"""Implement `Backend` with diffusers: keep models resident and turn a DrawRequest into pictures.

The order is encode the prompt, denoise, decode. Only the engine's worker thread calls it.
"""

from __future__ import annotations

import time
import traceback
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from pipelines.adapters.stack import WeightStack
from pipelines.embedded.words import read_prompt, without_parts
from pipelines.engine import hardware
from pipelines.engine.backend import OnStep
from pipelines.engine.hardware import free_bytes
from pipelines.engine.light_imports import without_collections
from pipelines.errors import DrawingError, InvalidRequest, OutOfMemory
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
from pipelines.models.presets import PRESETS, Preset
from pipelines.plain.drawing import PlainModels
from pipelines.records import Drawing, DrawRequest, ModelInfo, Pixels
from pipelines.sdxl.denoise import (
    Conditioning,
    Conditionings,
    Keep,
    denoise,
    draw_noise,
    first_step,
    start_latents,
)
from pipelines.sdxl.fast import FastModel
from pipelines.sdxl.loading import (
    Resident,
    load_model,
    make_scheduler,
    pick_device,
    pick_dtype,
    unified_memory,
    weight_bytes,
)
from pipelines.sdxl.seamless import circular, rolled
from pipelines.sdxl.text import Embedding

MOST_STEPS = 200
WORK, SMALL_WORK = 3 << 30, 1 << 28
"""Memory beside the weights that a drawing takes: SDXL at 1024x1024, and a model that draws single pixels."""


@dataclass(frozen=True, slots=True)
class Sampling:
    """How a request is sampled, after presets and defaults."""

    preset: Preset | None
    steps: int
    guidance: float
    guided: tuple[float, float]


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
    ) -> None:
        """Loads nothing. `find_lora` finds a LoRA's file by its name, or raises AdapterError; by default names are
        paths.

        `find_any_lora` does so for LoRAs of other families than SDXL as well; default: as `find_lora`.
        `float8`: models of SDXL's size multiply their linear layers in float8.
        """
        self.device = torch.device(device) if device else pick_device()
        self._find_lora = find_lora
        self._float8 = float8
        self._plain = PlainModels(self.device, find_any_lora or find_lora, self._admit_bytes, self._make_room)
        self._stacks: dict[str, WeightStack] = {}
        self._fast: dict[str, FastModel] = {}
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
        try:
            self._merge(resident, request, plan.preset)
            with torch.inference_mode():
                images = _draw(resident, self._fast[model.id], request, plan, on_step)
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
                with without_collections():
                    resident = load_model(model, self.device, dtype)
            except torch.OutOfMemoryError as error:
                self._make_room(model)
                raise OutOfMemory(f"{self.device} has no room for '{model.id}'.") from error
            self.residents[model.id] = resident
            self._made_fast(resident)
        self.residents.move_to_end(model.id)
        return self.residents[model.id]

    def _made_fast(self, resident: Resident) -> FastModel:
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
        raise InvalidRequest(f"strength is above 0 and at most 1, not {request.strength}.")
    batch, shape = len(request.prompts), (request.height, request.width)
    if request.init and (len(request.init) != batch or any(i.shape[:2] != shape for i in request.init)):
        raise InvalidRequest(f"init needs {batch} pictures of {request.width}x{request.height}, one for each prompt.")
    if request.mask and (len(request.mask) != len(request.init) or any(m.shape != shape for m in request.mask)):
        raise InvalidRequest("A mask needs a picture to change, of the same size: give init too, one for each mask.")


def _draw(
    resident: Resident, fast: FastModel, request: DrawRequest, plan: Sampling, on_step: OnStep
) -> tuple[Pixels, ...]:
    # 1. the prompts
    away = _guided_away(request, plan)
    sizes = _size_conditioning(request).to(resident.device, resident.dtype)

    def conditioning(embeddings: Sequence[Embedding]) -> Conditioning:
        return Conditioning(
            torch.cat([e.hidden for e in embeddings]),
            torch.cat([e.pooled for e in embeddings]),
            sizes.expand(len(embeddings), -1),
        )

    prompts = resident.prompts
    conditionings = Conditionings(
        positive=conditioning([prompts.encode(p) for p in request.prompts]),
        negative=conditioning([prompts.encode_negative(prompt or "") for prompt in away])
        if any(prompt is not None for prompt in away)
        else None,
        region=conditioning([prompts.encode(request.region.prompt)] * len(away)) if request.region else None,
        region_weight=_cells(request.region.weight, resident) if request.region else None,
    )
    # 2. the noise, and the picture to begin with
    preset, own = plan.preset, resident.scheduler
    name = preset.scheduler if preset and preset.scheduler else type(own).__name__
    scheduler = make_scheduler(name, {**own.config, **(preset.scheduler_changes if preset else {})})
    scheduler.set_timesteps(plan.steps)
    generators = [torch.Generator().manual_seed(seed) for seed in request.seeds]
    shape = (resident.unet.config.in_channels, request.height // resident.scale, request.width // resident.scale)
    noise = draw_noise(shape, generators, conditionings.positive.hidden)
    init = _encode(resident, request.init) if request.init else None
    begin = first_step(plan.steps, request.strength) if request.init else 0
    keep = None
    if init is not None and request.mask:
        mask = _cells(np.stack(request.mask).astype(np.float32), resident, touched=True)
        keep = Keep(init, noise, mask)
    # 3. the loop
    wraps = request.tile_x or request.tile_y
    predict = fast.predict(plain=wraps)
    if wraps:
        predict = rolled(predict, request.seeds[0], request.tile_x, request.tile_y)
    drafts = preset is not None and preset.tiny_decoder and resident.tiny_vae is not None
    decoder: Any = resident.tiny_vae if drafts else resident.vae
    with circular([resident.unet, decoder], request.tile_x, request.tile_y):
        latents = denoise(
            predict,
            scheduler,
            start_latents(scheduler, noise, init, begin),
            conditionings,
            [1.0 if prompt is None else plan.guidance for prompt in away],
            generators,
            begin=begin,
            guided=plan.guided,
            eta=preset.eta if preset else 0.0,
            keep=keep,
            couple=request.couple,
            on_step=on_step,
        )
        # 4. pictures
        if drafts:
            images = to_pictures(fast.draft(latents, plain=wraps))
        else:
            latents = (latents / resident.vae.config.scaling_factor).to(resident.vae.dtype)
            images = to_pictures(fast.decode(latents, plain=wraps))
    for i, mask in enumerate(request.mask):  # exact to the pixel, where a latent cell is several
        images[i][~mask] = request.init[i][~mask]
    return tuple(images)


def _guided_away(request: DrawRequest, plan: Sampling) -> list[str | None]:
    """Returns the prompt that guidance moves each picture away from; None: no guidance.

    With a preset that has `part_guidance` it is the prompt without its parts: what is said of them is drawn more often.
    """
    batch = len(request.prompts)
    if plan.guidance <= 1:
        return [None] * batch
    if plan.preset and plan.preset.part_guidance and not request.negative:
        return [bare or None for bare in request.bare_prompts] or [None] * batch
    return [request.negative] * batch


def _size_conditioning(request: DrawRequest) -> Tensor:
    """Returns SDXL's size conditioning (1, 6): original size, no crop, target size."""
    target = (request.height, request.width)
    original = (request.native, request.native) if request.native else target
    return torch.tensor([[*original, 0, 0, *target]], dtype=torch.float32)


def _cells(weight: Any, resident: Resident, touched: bool = False) -> Tensor:
    """Reduces (batch, h, w) canvas pixels to (batch, 1, h, w) latent cells: the mean, or with `touched` the largest."""
    pixels = torch.as_tensor(np.ascontiguousarray(weight, np.float32)).unsqueeze(1)
    pool = functional.max_pool2d if touched else functional.avg_pool2d
    return pool(pixels, resident.scale).to(resident.device, resident.dtype)


def _encode(resident: Resident, images: Sequence[Pixels]) -> Tensor:
    """Encodes RGBA pictures as latents (batch, c, h, w). A model without an alpha channel gets them over white."""
    pixels = torch.from_numpy(np.stack(images)).to(resident.device).movedim(-1, 1).to(resident.dtype)
    alpha = pixels[:, 3:] / 255
    if resident.vae.config.in_channels == 4:
        # a transparent pixel is (0, 0, 0, -1), as in training
        values = torch.cat([(pixels[:, :3] / 127.5 - 1) * alpha.round(), alpha * 2 - 1], dim=1)
    else:
        values = (pixels[:, :3] * alpha + 255 * (1 - alpha)) / 127.5 - 1
    latents = resident.vae.encode(values.to(resident.vae.dtype)).latent_dist.mode()
    return latents.to(resident.dtype) * resident.vae.config.scaling_factor


def to_pictures(values: Tensor) -> list[Pixels]:
    """Rounds values in -1..1 to RGBA uint8 pictures, on the device: a quarter of the bytes leaves it.

    Raises:
        DrawingError: a value is NaN or infinite, which would become a black picture.
    """
    if not bool(torch.isfinite(values).all()):
        raise DrawingError(
            "The model drew values that are not numbers (NaN or infinity), so there is no picture. Draw without LoRAs, "
            "or with a lower weight; if it happens without any, the model's files are damaged: download them again."
        )
    pixels = (values * 127.5 + 127.5).clamp_(0, 255).round_().to(torch.uint8).movedim(1, -1)
    if pixels.shape[-1] == 3:
        pixels = functional.pad(pixels, (0, 1), value=255)
    return list(pixels.cpu().numpy())
