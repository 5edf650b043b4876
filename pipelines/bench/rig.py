"""What every arm of the bench draws with: one model, its inputs, and the project's own road from words to pixels."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from pipelines.bench.measure import Results, Row, count_tflop, measure
from pipelines.bench.model import SIZES, Size, build, unet_config, vae_config
from pipelines.denoise import Conditioning, Words, denoise, draw_noise, predict_with, start_latents
from pipelines.graphs import Captured, Region

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
    "tiny": Plan(SIZES["tiny"], (64, 48, 32), 4, 2, 2, 3, 600),
}


@dataclass
class Rig:
    """One model and its callers. `step` and `decode` are what the arms of ours call; arms replace them."""

    plan: Plan
    device: torch.device
    dtype: torch.dtype
    results: Results
    parts: dict[str, Any] = field(default_factory=dict)
    step: Callable[..., Tensor] = field(init=False)
    decode: Callable[..., Tensor] = field(init=False)
    began: float = field(default_factory=time.perf_counter)
    _counts: dict[tuple[str, int, int], float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.parts = self.parts or build(self.plan.size, self.device, self.dtype)
        self.step, self.decode = self.plain_step, self.plain_decode

    @property
    def left(self) -> float:
        """Seconds of the plan that are left."""
        return self.plan.seconds - (time.perf_counter() - self.began)

    def pipe(self) -> Any:
        """The stock pipeline over the same components, quiet."""
        from diffusers.pipelines.stable_diffusion_xl.pipeline_stable_diffusion_xl import StableDiffusionXLPipeline

        pipe = StableDiffusionXLPipeline(**self.parts, add_watermarker=False)
        pipe.set_progress_bar_config(disable=True)
        return pipe

    def plain_step(self, latents: Tensor, timestep: Tensor, hidden: Tensor, pooled: Tensor, sizes: Tensor) -> Tensor:
        return predict_with(self.parts["unet"])(latents, timestep, Conditioning(hidden, pooled, sizes))

    def plain_decode(self, latents: Tensor) -> Tensor:
        return self.parts["vae"].decode(latents, return_dict=False)[0]

    def captured_step(self, regions: list[Region]) -> Captured:
        return Captured(self.plain_step, self.device, regions)

    def captured_decode(self, regions: list[Region]) -> Captured:
        return Captured(self.plain_decode, self.device, regions)

    def inputs(self, batch: int, side: int) -> tuple[Tensor, ...]:
        """Random inputs of one UNet call for `batch` rows (a guided picture is two rows)."""
        size, cells = self.plan.size, side // 8
        shapes = ((batch, 4, cells, cells), (batch, 77, sum(size.text)), (batch, size.text[1]), (batch, 6))
        latents, hidden, pooled, sizes = (torch.randn(s, device=self.device).to(self.dtype) for s in shapes)
        return latents, torch.tensor(500.0), hidden, pooled, sizes.abs() * side

    def tflop(self, what: str, batch: int, side: int) -> float:
        """Counted operations of one call of the UNet or the decoder, on a model without memory."""
        if (what, batch, side) not in self._counts:
            self._counts[what, batch, side] = self._count(what, batch, side)
        return self._counts[what, batch, side]

    def _count(self, what: str, batch: int, side: int) -> float:
        from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
        from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

        size, cells = self.plan.size, side // 8
        with torch.device("meta"), torch.no_grad():
            latents = torch.empty(batch, 4, cells, cells)
            if what == "decode":
                vae = AutoencoderKL(**vae_config(size))
                return count_tflop(lambda: vae.decode(latents, return_dict=False))  # pyright: ignore[reportArgumentType]
            unet = UNet2DConditionModel(**unet_config(size))
            words = Conditioning(
                torch.empty(batch, 77, sum(size.text)), torch.empty(batch, size.text[1]), torch.empty(batch, 6)
            )
            return count_tflop(lambda: predict_with(unet)(latents, torch.empty(()), words))

    def picture_tflop(self, batch: int, side: int, steps: int, guided: int) -> float:
        """Counted operations of a batch of pictures, text encoders left out (0.06 % of them)."""
        both, one = self.tflop("step", 2 * batch, side), self.tflop("step", batch, side)
        return guided * both + (steps - guided) * one + self.tflop("decode", batch, side)

    @torch.inference_mode()
    def draw(self, batch: int, side: int, steps: int, guidance: float, guided: float = 1.0, decode: Any = None) -> Any:
        """Our road, words encoded anew: encode, denoise, decode, uint8 pictures on the host (batch, h, w, 3)."""
        pipe = self._pipe_for_words()
        wanted, unwanted, pooled, unwanted_pooled = pipe.encode_prompt(
            PROMPT, device=self.device, do_classifier_free_guidance=guidance > 1, negative_prompt=NEGATIVE
        )
        sizes = torch.tensor([[side, side, 0, 0, side, side]] * batch, dtype=self.dtype, device=self.device)

        def conditioning(hidden: Tensor, pool: Tensor) -> Conditioning:
            return Conditioning(hidden.expand(batch, -1, -1), pool.expand(batch, -1), sizes)

        negative = conditioning(unwanted, unwanted_pooled) if guidance > 1 else None
        words = Words(conditioning(wanted, pooled), negative)
        scheduler = self.parts["scheduler"].from_config(self.parts["scheduler"].config)
        scheduler.set_timesteps(steps)
        generators = [torch.Generator().manual_seed(i) for i in range(batch)]
        noise = draw_noise((4, side // 8, side // 8), generators, wanted)
        latents = denoise(
            lambda x, t, c: self.step(x, t, c.hidden, c.pooled, c.sizes),
            scheduler,
            start_latents(scheduler, noise, None, 0),
            words,
            [guidance] * batch,
            generators,
            guided=(0.0, guided),
        )
        values = (decode or self.decode)(latents / self.parts["vae"].config.scaling_factor)
        return (values * 127.5 + 127.5).clamp_(0, 255).round_().to(torch.uint8).movedim(1, -1).cpu().numpy()

    def _pipe_for_words(self) -> Any:
        if not hasattr(self, "_words"):
            self._words = self.pipe()
        return self._words

    def warm(self) -> None:
        """Captures every shape that was called."""
        for captured in (self.step, self.decode):
            while isinstance(captured, Captured) and captured.warm():
                pass

    def time_picture(
        self, name: str, batch: int, side: int, steps: int, guidance: float, guided: float = 1.0, runs: int = 0
    ) -> Row:
        """A row for a batch of pictures by our road, everything captured first."""

        def call() -> Any:
            return self.draw(batch, side, steps, guidance, guided)

        call()
        self.warm()
        seconds, made, peak = measure(call, self.device, runs or self.plan.runs)
        with_guidance = sum(i / steps < guided for i in range(steps)) if guidance > 1 else 0
        tflop = self.picture_tflop(batch, side, steps, with_guidance)
        return self.results.add(Row(name, seconds, made, steps, batch, tflop, peak))

    @torch.inference_mode()
    def time_step(self, name: str, step: Callable[..., Tensor], batch: int, side: int, note: str = "") -> Row:
        """A row for one UNet call of `batch` rows; a Captured is captured first."""
        inputs = self.inputs(batch, side)
        step(*inputs)
        while isinstance(step, Captured) and step.warm():
            pass
        if isinstance(step, Captured):
            if step.compile_state != "off":
                note = f"{note} compile {step.compile_state}, error {step.compile_error:.4f}"
            if step.state()["failed"]:
                note = f"{note} FAILED: {step.state()['failed'][0]}"
        seconds, runs, peak = measure(lambda: step(*inputs), self.device, 2 * self.plan.runs)
        return self.results.add(Row(name, seconds, runs, 1, 1, self.tflop("step", batch, side), peak, note.strip()))

    def free(self) -> None:
        """Gives back what dropped graphs held."""
        gc.collect()
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
