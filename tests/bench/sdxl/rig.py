"""What every arm of the bench draws with: one model with random weights in the project's own backend.

It has the plan of a run, the inputs of a single call and the counted operations. Pictures are drawn by
`DiffusersBackend.draw`, so a row says what the product does; only finishing and the queue are left out.
"""

from __future__ import annotations

import gc
import itertools
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pipelines.models.catalog import Model
from pipelines.records import Drawing, DrawRequest
from pipelines.sdxl.denoise import Conditioning, predict_with
from pipelines.sdxl.diffusion import DiffusersBackend
from pipelines.sdxl.graphs import Captured
from pipelines.sdxl.loading import Resident
from pipelines.sdxl.text import PromptEncoder
from tests.bench.measure import Results, Row, count_tflop, measure
from tests.random_sdxl import SIZES, Size, build, unet_config, vae_config

PROMPT, NEGATIVE = "pixel art sprite of a mossy stone golem", "red dragon"


@dataclass(frozen=True)
class Plan:
    """How much is measured. `sides` are canvas pixels, the first being the main size."""

    size: Size
    sides: tuple[int, ...]
    steps: int
    few: int
    batch: int
    runs: int
    seconds: float
    """Time for everything: an arm that does not fit into what is left is skipped and said to be."""


PLANS = {
    "full": Plan(SIZES["full"], (1024, 768, 512), 30, 8, 4, 10, 1200),
    "eighth": Plan(SIZES["eighth"], (256, 192, 128), 4, 2, 2, 3, 1200),
    "tiny": Plan(SIZES["tiny"], (64, 96, 32), 4, 2, 2, 3, 600),
}


@dataclass
class Rig:
    """One model, resident in a backend of ours."""

    plan: Plan
    device: torch.device
    dtype: torch.dtype
    results: Results
    began: float = field(default_factory=time.perf_counter)
    float8: bool = False
    adapter: Path = Path()
    network: Path = Path()
    """Folders of the IP-Adapter and the ControlNet, where an arm wrote them."""
    _low: Rig | None = None
    _counts: dict[tuple[str, int, int], float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.resident = self._resident()
        self.prompts = self.resident.prompts
        self.backend = DiffusersBackend(
            self.device,
            float8=self.float8,
            find_adapter=lambda: self.adapter,
            find_controlnet=lambda: self.network,
        )
        self.fast = self.backend.adopt(self.resident)
        self._words = itertools.count()

    def _resident(self) -> Resident:
        parts = self.build()
        parts["vae"].register_to_config(force_upcast=False)
        encoders = [parts["text_encoder"], parts["text_encoder_2"]]
        weights = {name: parts[name] for name in ("unet", "vae", "text_encoder", "text_encoder_2")}
        return Resident(
            model=Model("bench", "random SDXL", "none", Path(), canvases=self.plan.sides),
            revision="random",
            tiny_vae=None,
            prompts=PromptEncoder([parts["tokenizer"], parts["tokenizer_2"]], encoders, True),
            scheduler=parts["scheduler"],
            device=self.device,
            dtype=self.dtype,
            **weights,
        )

    @property
    def low(self) -> Rig:
        """A second model like this one that multiplies in float8, made once."""
        if self._low is None:
            self._low = Rig(self.plan, self.device, self.dtype, self.results, self.began, float8=True)
        return self._low

    @property
    def left(self) -> float:
        """Seconds of the plan that are left."""
        return self.plan.seconds - (time.perf_counter() - self.began)

    def build(self) -> dict[str, Any]:
        """The components of a model of the plan's size, without anything of ours in them."""
        return build(self.plan.size, self.device, self.dtype)

    def inputs(self, rows: int, side: int) -> tuple[Tensor, ...]:
        """Random inputs of one UNet call for `rows` rows (a guided picture is two rows)."""
        size, cells = self.plan.size, side // 8
        shapes = ((rows, 4, cells, cells), (rows, 77, sum(size.text)), (rows, size.text[1]), (rows, 6))
        latents, hidden, pooled, sizes = (torch.randn(s, device=self.device).to(self.dtype) for s in shapes)
        return latents, torch.tensor(500.0), hidden, pooled, sizes.abs() * side

    def latents(self, rows: int, side: int) -> Tensor:
        """Random input of the decoder."""
        return torch.randn(rows, 4, side // 8, side // 8, device=self.device).to(self.dtype)

    def step(self, latents: Tensor, timestep: Tensor, hidden: Tensor, pooled: Tensor, sizes: Tensor) -> Tensor:
        """Our call of the UNet."""
        return self.fast.predict()(latents, timestep, Conditioning(hidden, pooled, sizes))

    def tflop(self, what: str, rows: int, side: int) -> float:
        """Counted operations of one call of the UNet or the decoder, on a model without memory."""
        if (what, rows, side) not in self._counts:
            self._counts[what, rows, side] = self._count(what, rows, side)
        return self._counts[what, rows, side]

    def _count(self, what: str, rows: int, side: int) -> float:
        from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
        from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

        size, cells = self.plan.size, side // 8
        with torch.device("meta"), torch.no_grad():
            latents = torch.empty(rows, 4, cells, cells)
            if what == "decode":
                vae = AutoencoderKL(**vae_config(size))
                return count_tflop(lambda: vae.decode(latents, return_dict=False))  # pyright: ignore[reportArgumentType]
            unet = UNet2DConditionModel(**unet_config(size))
            words = Conditioning(
                torch.empty(rows, 77, sum(size.text)), torch.empty(rows, size.text[1]), torch.empty(rows, 6)
            )
            return count_tflop(lambda: predict_with(unet)(latents, torch.empty(()), words))

    def picture_tflop(self, batch: int, side: int, steps: int, guided: int) -> float:
        """Counted operations of a batch of pictures, text encoders left out (0.06 % of them)."""
        both, one = self.tflop("step", 2 * batch, side), self.tflop("step", batch, side)
        return guided * both + (steps - guided) * one + self.tflop("decode", batch, side)

    def draw(
        self, batch: int, side: int, steps: int, guidance: float, guided: float = 1.0, number: int | None = None
    ) -> Drawing:
        """Draws by the backend; a number in the prompt makes it new, so that it is encoded."""
        self.resident.model = replace(self.resident.model, guided=(0.0, guided))
        seen = next(self._words) if number is None else number
        request = DrawRequest(
            model=self.resident.model.id,
            prompts=(f"{PROMPT} {seen}",) * batch,
            seeds=tuple(range(batch)),
            width=side,
            height=side,
            negative=f"{NEGATIVE} {seen}",
            steps=steps,
            guidance=guidance,
        )
        return self.backend.draw(request, lambda done, total: None)

    def warm(self) -> None:
        """Captures every shape that was called."""
        while self.backend.warm(lambda: False):
            pass

    def time_picture(
        self, name: str, batch: int, side: int, steps: int, guidance: float, guided: float = 1.0, runs: int = 0
    ) -> Row:
        """Adds a row for a batch of pictures by our pipeline, with everything captured first."""

        def call() -> Any:
            return self.draw(batch, side, steps, guidance, guided)

        self.draw(batch, side, 2, guidance, 0.5 if guided < 1 else 1.0)  # both kinds of step
        self.warm()
        seconds, made, peak = measure(call, self.device, runs or self.plan.runs, 1, 5.0)
        with_guidance = sum(i / steps < guided for i in range(steps)) if guidance > 1 else 0
        tflop = self.picture_tflop(batch, side, steps, with_guidance)
        return self.results.add(Row(name, seconds, made, steps, batch, tflop, peak))

    @torch.inference_mode()
    def time_step(self, name: str, rows: int, side: int, step: Callable[..., Tensor] | None = None) -> Row:
        """A row for one UNet call of `rows` rows, ours or another, of ten in a row; captured first."""
        call, inputs, note = step or self.step, self.inputs(rows, side), ""
        call(*inputs)
        self.warm()
        if isinstance(call, Captured):
            while call.warm():
                pass
        state = call.state() if isinstance(call, Captured) else self.fast.state()["step"] if step is None else {}
        if state and state["compile"] != "off":
            note = f"compile {state['compile']}, error {state['compile_error']:.4f}, {state['halved_graphs']} halved"
        if state and state["failed"]:
            note = f"{note} FAILED: {state['failed'][0]}"
        seconds, runs, peak = measure(lambda: [call(*inputs) for _ in range(10)], self.device, self.plan.runs, 1, 4.0)
        seconds /= 10
        return self.results.add(Row(name, seconds, runs, 1, 1, self.tflop("step", rows, side), peak, note.strip()))

    def free(self) -> None:
        """Gives back what dropped graphs held."""
        gc.collect()
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
