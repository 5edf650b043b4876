"""Distil the embedded model to four steps without guidance.

`python -m pipelines.embedded.training.distill DATA --out FOLDER`
The loss is that of progressive distillation (Salimans & Ho 2022) with the guidance distilled along (Meng et al. 2023):
one step of the student ends where two guided DDIM steps of the teacher end. The student is the teacher with a low-rank
adapter on every linear layer and convolution (as LCM-LoRA, Luo et al. 2023), so that one set of weights serves both.
The loop is that of `train`.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional

from pipelines.embedded.architecture import CHECKPOINT, build_scheduler, load_embedded
from pipelines.embedded.training.data import VARIANTS, Packed, all_sprites, read_sprites
from pipelines.embedded.training.objective import Objective
from pipelines.embedded.training.train import Plan, Trainer, mean_loss, open_run, prepare, run
from pipelines.errors import PipelineError

STEPS = 4
"""Steps of the student."""

RANK = 16
"""Of the adapter: 2.0 million parameters, 4 MB as fp16."""

GUIDANCE = 1.75
"""Of the teacher."""


class Distillation(nn.Module):
    """Teacher, student's adapter and data on one device; calling it gives the loss of a batch."""

    starts: Tensor
    middles: Tensor
    alpha_start: Tensor
    alpha_middle: Tensor
    alpha_end: Tensor

    def __init__(self, teacher: Objective, rank: int = RANK, guidance: float = GUIDANCE) -> None:
        super().__init__()
        self.teacher, self.guidance = teacher.requires_grad_(False), guidance
        for module in teacher.modules():
            if isinstance(module, nn.Dropout):
                module.p = 0.0
        scheduler = build_scheduler()
        scheduler.set_timesteps(2 * STEPS)
        settings: Any = scheduler.config
        self.clip = float(settings.clip_sample_range)
        alphas, times = scheduler.alphas_cumprod, scheduler.timesteps
        ends = torch.cat([alphas[times[2::2]], torch.ones(1)])
        for name, value in {
            "starts": times[0::2], "middles": times[1::2], "alpha_start": alphas[times[0::2]],
            "alpha_middle": alphas[times[1::2]], "alpha_end": ends,
        }.items():  # fmt: skip
            self.register_buffer(name, value, persistent=False)
        layers = {n: m for n, m in teacher.unet.named_modules() if isinstance(m, nn.Linear | nn.Conv2d)}
        self.layers = tuple(layers)
        self.downs, self.ups = nn.ParameterList(), nn.ParameterList()
        draws = torch.Generator().manual_seed(0)
        for layer in layers.values():
            out, inside = layer.weight.flatten(1).shape
            self.downs.append(nn.Parameter(torch.randn(rank, inside, generator=draws) / inside**0.5))
            self.ups.append(nn.Parameter(torch.zeros(out, rank)))

    def forward(self, uniform: Tensor, noise: Tensor) -> Tensor:
        """Returns the mean squared error of the student's v, as `Objective.forward`, without the dropped caption."""
        batch = len(uniform)
        with torch.no_grad():
            pictures, tokens, native, loose = self.teacher.augmented(uniform)
            latents = functional.pixel_unshuffle(pictures, 2)
            spread = (uniform[:, 5] + torch.arange(batch, device=uniform.device)) / batch
            step = (spread * STEPS).long().clamp(max=STEPS - 1)
            start, middle, end = (
                alphas[step].view(-1, 1, 1, 1) for alphas in (self.alpha_start, self.alpha_middle, self.alpha_end)
            )
            noised = start.sqrt() * latents + (1 - start).sqrt() * noise
            kept = torch.ones(batch, dtype=torch.bool, device=uniform.device)
            # the second half of the batch is the same without its captions: one call gives both sides of the guidance
            both = torch.cat([kept, ~kept])
            states, told = self.teacher.conditions(tokens.repeat(2, 1), native.repeat(2), both, loose.repeat(2))
            halfway = self.ddim_step(noised, self._guided(noised, self.starts[step], states, told), start, middle)
            landing = self.ddim_step(halfway, self._guided(halfway, self.middles[step], states, told), middle, end)
            # the v with which one step from `start` to `end` lands there
            factor = (1 - end).sqrt() * start.sqrt() - end.sqrt() * (1 - start).sqrt()
            stays = end.sqrt() * start.sqrt() + (1 - end).sqrt() * (1 - start).sqrt()
            target = (landing - stays * noised) / factor
        predicted = functional_call(
            self.teacher.unet,
            self.merged(),
            (noised, self.starts[step], states[:batch]),
            {"added_cond_kwargs": {name: value[:batch] for name, value in told.items()}, "return_dict": False},
        )[0]
        return (predicted.float() - target).square().mean()

    def merged(self) -> dict[str, Tensor]:
        """Returns the student's weights by their names in the UNet, in float32."""
        weights = {}
        with torch.autocast(self.starts.device.type, enabled=False):
            for name, down, up in zip(self.layers, self.downs, self.ups, strict=True):
                weight = self.teacher.unet.get_parameter(f"{name}.weight")
                weights[f"{name}.weight"] = weight + (up @ down).view_as(weight)
        return weights

    def _guided(self, noised: Tensor, times: Tensor, states: Tensor, told: dict[str, Tensor]) -> Tensor:
        v = self.teacher.unet(
            noised.repeat(2, 1, 1, 1), times.repeat(2), states, added_cond_kwargs=told, return_dict=False
        )[0]
        with_words, without = v.float().chunk(2)
        return without + self.guidance * (with_words - without)

    def ddim_step(self, noised: Tensor, v: Tensor, now: Tensor, then: Tensor) -> Tensor:
        """Takes one DDIM step, as the scheduler does it (diffusers/schedulers/scheduling_ddim.py)."""
        clean = (now.sqrt() * noised - (1 - now).sqrt() * v).clamp(-self.clip, self.clip)
        return then.sqrt() * clean + (1 - then).sqrt() * (now.sqrt() * v + (1 - now).sqrt() * noised)

    def held_out_loss(self, packed: Packed, words: list[str], batches: int = 4) -> float:
        """Measures the loss on sprites that training never sees, with numbers that are the same every time."""
        mine, device = self.teacher, self.starts.device
        other = Objective(mine.unet, mine.text_encoder, mine.text_encoder_2, packed, words).to(device)
        self.teacher = other.requires_grad_(False)
        loss = mean_loss(self, device, batches)
        self.teacher = mine
        return loss

    def save(self, path: Path) -> None:
        """Writes the adapter: diffusers' names, fp16; alpha is the rank, so its scale is 1."""
        from safetensors.torch import save_file

        tensors: dict[str, Tensor] = {}
        for name, down, up in zip(self.layers, self.downs, self.ups, strict=True):
            weight = self.teacher.unet.get_parameter(f"{name}.weight")
            if weight.ndim == 4:  # a convolution: `down` has its kernel, `up` is 1x1
                down, up = down.view(len(down), *weight.shape[1:]), up.view(*up.shape, 1, 1)
            for role, value in (("A", down), ("B", up)):
                tensors[f"unet.{name}.lora_{role}.weight"] = value.detach().half().contiguous().cpu()
        save_file(tensors, path, {"format": "pt", "steps": str(STEPS), "guidance": str(self.guidance)})


def distill(arguments: argparse.Namespace) -> None:
    """Runs the command.

    Raises:
        InvalidRequest: no data, or a state file of another run.
    """
    workers, device, saved = open_run(arguments, "turbo.safetensors")
    out: Path = arguments.out
    started = time.monotonic()
    teacher = load_embedded(folder=arguments.teacher)
    known = teacher.tokenizer.get_vocab()
    words, packed, held = prepare(
        (all_sprites if arguments.all else read_sprites)(arguments.data, 16),
        arguments.variants,
        sorted(known, key=known.get),
    )
    objective = Objective(teacher.unet, teacher.text_encoder, teacher.text_encoder_2, packed, words)
    model = Distillation(objective, arguments.rank, arguments.guidance)
    plan = Plan(**saved["plan"]) if saved else Plan(
        steps=arguments.steps, batch=arguments.batch, rate=arguments.rate, average=0.999,
        warmup=min(100, max(1, arguments.steps // 10)),
    )  # fmt: skip
    trainer = Trainer(model, plan, device, False, workers.rank)
    if saved:
        trainer.restore(saved)
    run(trainer, workers, arguments, words, lambda: model.held_out_loss(held, words) if held else float("nan"), started)
    if workers.first:
        trainer.use_best()
        with trainer.averaged():
            model.save(out / "turbo.safetensors")
        print(f"Wrote {out / 'turbo.safetensors'}", flush=True)
    workers.leave()


def main(argv: list[str] | None = None) -> int:
    """Reads the command line, distils, and says in one line what was wrong."""
    parser = argparse.ArgumentParser(prog="python -m pipelines.embedded.training.distill", description=__doc__)
    parser.add_argument("data", nargs="+", type=Path, help="the training data of the model")
    parser.add_argument("--out", type=Path, required=True, help="folder for state, log and turbo.safetensors")
    parser.add_argument("--teacher", type=Path, default=CHECKPOINT, help="checkpoint folder (default: the shipped one)")
    parser.add_argument(
        "--all", action="store_true", help="also the drawings of training.drawn, folk of other races, other sizes"
    )
    parser.add_argument("--resume", action="store_true", help="go on with the run in --out")
    parser.add_argument("--device", help="cuda or cpu (default: cuda where there is one)")
    parser.add_argument("--steps", type=int, default=6_000)
    parser.add_argument("--minutes", type=float, help="as many steps as fit into these minutes, reading included")
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--rate", type=float, default=1e-3, help="highest learning rate")
    parser.add_argument("--guidance", type=float, default=GUIDANCE, help="of the teacher")
    parser.add_argument("--rank", type=int, default=RANK, help="of the adapter")
    parser.add_argument("--variants", type=int, default=VARIANTS, help="colour variants of a sprite")
    parser.add_argument("--report", type=int, default=500, help="steps between two lines of the log")
    parser.add_argument("--save", type=int, default=1000, help="steps between two saved states")
    try:
        distill(parser.parse_args(argv))
    except PipelineError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
