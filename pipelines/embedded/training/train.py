"""Train the embedded model: `python -m pipelines.embedded.training.train DATA --out FOLDER`.

A run is resumed from its state file bit for bit on a CPU; on a GPU as far as its kernels are deterministic. The loss is
in `objective`, the data in `data`. With --start the run begins from a checkpoint, and words that it knows keep their
embeddings.
"""

from __future__ import annotations

import argparse
import copy
import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.optim.swa_utils import get_ema_multi_avg_fn

from pipelines.embedded.architecture import (
    CHECKPOINT,
    Architecture,
    build_text_encoders,
    build_unet,
    load_embedded,
    save_checkpoint,
)
from pipelines.embedded.training.data import VARIANTS, Packed, Sprite, all_sprites, pack, read_sprites, vocabulary
from pipelines.embedded.training.objective import DRAWS, Objective
from pipelines.embedded.training.workers import EVERY, Workers
from pipelines.errors import InvalidRequest, PipelineError
from pipelines.sdxl.recording import record, run_aside

GRACE = 30
"""Seconds past the asked minutes after which a run ends, though its steps are not done."""

STATE = "state.pt"
"""Name of the file in the output folder that a run is resumed from."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How long and how fast. The rate rises over `warmup` steps and falls to zero over the last `decay` of all."""

    steps: int = 20_000
    batch: int = 256
    rate: float = 6e-4
    warmup: int = 300
    decay: float = 0.4
    average: float = 0.9995
    dropout: float = 0.05
    seed: int = 0

    def rate_at(self, step: int) -> float:
        """Returns the learning rate of a step, counted from 0."""
        falling = (self.steps - step) / max(1.0, self.decay * self.steps)
        return self.rate * min(1.0, (step + 1) / self.warmup, falling)


class Trainer:
    """One run: `step()` does a step, `state()` and `restore()` carry it from process to process."""

    def __init__(
        self, objective: torch.nn.Module, plan: Plan, device: torch.device, compiled: bool, rank: int = 0
    ) -> None:
        self.objective, self.plan, self.device = objective.to(device).train(), plan, device
        self.done = 0
        self.parameters = [p for p in objective.parameters() if p.requires_grad]
        self.averages = [p.detach().clone() for p in self.parameters]
        self.rate = torch.tensor(0.0, device=device)
        on_gpu = {"fused": True, "capturable": True} if device.type == "cuda" else {}
        self.optimizer = torch.optim.AdamW(
            self.parameters, lr=self.rate, betas=(0.9, 0.99), weight_decay=0.01, **on_gpu
        )
        self.draws = torch.Generator(device).manual_seed(plan.seed + 1000 * rank)
        torch.manual_seed(plan.seed + 1000 * rank + 1)  # dropout
        self.uniform = torch.zeros(plan.batch, DRAWS, device=device)
        self.noise = torch.zeros(plan.batch, 16, 16, 16, device=device)
        self.loss = torch.zeros((), device=device)
        self.best = float("inf")
        self.best_averages: list[torch.Tensor] = []
        self._loss_of: Any = torch.compile(objective) if compiled else objective
        self._graph: torch.cuda.CUDAGraph | None = None

    def step(self) -> None:
        """Takes one step; `loss` (a tensor, read it seldom) then holds its loss."""
        self.uniform.copy_(torch.rand(self.uniform.shape, generator=self.draws, device=self.device))
        self.noise.copy_(torch.randn(self.noise.shape, generator=self.draws, device=self.device))
        self.rate.fill_(self.plan.rate_at(self.done))
        if self.device.type == "cuda":
            if self._graph is None:
                self._capture()
            else:
                self._graph.replay()
        else:
            self._work()
        self.done += 1

    def _work(self) -> None:
        self.optimizer.zero_grad(set_to_none=True)
        context = torch.autocast("cuda", torch.bfloat16) if self.device.type == "cuda" else nullcontext()
        with context:
            loss = self._loss_of(self.uniform, self.noise)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.parameters, 1.0)
        self.optimizer.step()
        with torch.no_grad():
            get_ema_multi_avg_fn(self.plan.average)(self.averages, tuple(self.parameters), self.done)
            self.loss.copy_(loss)

    def _capture(self) -> None:
        """Does this step by plain calls (which compiles them) and records it as a CUDA graph for the next steps."""
        run_aside(self._work, self.device)
        torch.cuda.synchronize()
        self.optimizer.zero_grad(set_to_none=True)
        self._graph, _ = record(self._work)

    def restart_average(self) -> None:
        """Restarts the moving average from the current weights, after the first steps of a run from random weights."""
        with torch.no_grad():
            torch.ops.aten._foreach_copy_(self.averages, self.parameters)

    def keep_best(self, held_out: float) -> None:
        """Keeps a copy of the averaged weights where their held-out loss is the least so far."""
        if held_out < self.best:
            self.best = held_out
            self.best_averages = [average.clone() for average in self.averages]

    def use_best(self) -> None:
        """Goes back to the averaged weights that `keep_best` kept, where it kept any."""
        if self.best_averages:
            torch.ops.aten._foreach_copy_(self.averages, self.best_averages)

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """Gives the model its averaged weights during the block, without dropout."""
        kept = [p.detach().clone() for p in self.parameters]
        with torch.no_grad():
            torch.ops.aten._foreach_copy_(self.parameters, self.averages)
            self.objective.eval()
            yield
            self.objective.train()
            torch.ops.aten._foreach_copy_(self.parameters, kept)

    def state(self) -> dict[str, Any]:
        """Returns everything that the next step depends on."""
        state = {
            "plan": asdict(self.plan),
            "done": self.done,
            "weights": [p.detach() for p in self.parameters],
            "averages": self.averages,
            "optimizer": self.optimizer.state_dict(),
            "draws": self.draws.get_state(),
            "dropout": torch.get_rng_state(),
        }
        if self.device.type == "cuda":
            state["dropout_cuda"] = torch.cuda.get_rng_state(self.device)
        return state

    def restore(self, state: dict[str, Any]) -> None:
        """Continues from `state`."""
        self.done = state["done"]
        with torch.no_grad():
            for mine, theirs in zip(self.parameters, state["weights"], strict=True):
                mine.copy_(theirs)
            for mine, theirs in zip(self.averages, state["averages"], strict=True):
                mine.copy_(theirs)
        self.optimizer.load_state_dict(state["optimizer"])
        for group in self.optimizer.param_groups:
            group["lr"] = self.rate
        self.draws.set_state(state["draws"].cpu())
        torch.set_rng_state(state["dropout"].cpu())
        if self.device.type == "cuda":
            torch.cuda.set_rng_state(state["dropout_cuda"].cpu(), self.device)


def held_out_loss(objective: Objective, packed: Packed, words: list[str], batches: int = 4) -> float:
    """Measures the loss on sprites that training never sees, with numbers that are the same every time."""
    device = next(objective.parameters()).device
    other = Objective(objective.unet, objective.text_encoder, objective.text_encoder_2, packed, words).to(device).eval()
    return mean_loss(other, device, batches)


@torch.no_grad()
def mean_loss(model: torch.nn.Module, device: torch.device, batches: int = 4) -> float:
    """Measures the loss over `batches` of 256, with numbers that are the same every time."""
    draws = torch.Generator(device).manual_seed(1)
    total = 0.0
    for _ in range(batches):
        uniform = torch.rand(256, DRAWS, generator=draws, device=device)
        noise = torch.randn(256, 16, 16, 16, generator=draws, device=device)
        total += float(model(uniform, noise))
    return total / batches


def build(words: list[str], start: Path | None, architecture: Architecture, dropout: float) -> tuple[Any, Any, Any]:
    """Builds UNet and text encoders, from nothing or from a checkpoint.

    A word that the checkpoint knows keeps its embedding; a UNet of another shape starts from nothing, and says so.
    """
    torch.manual_seed(0)
    encoders: tuple[Any, ...] = build_text_encoders(architecture, len(words))
    unet = build_unet(architecture)
    if start is not None:
        old = load_embedded(folder=start)
        shapes = [{k: v.shape for k, v in m.state_dict().items()} for m in (unet, old.unet)]
        if shapes[0] == shapes[1]:
            unet.load_state_dict(old.unet.state_dict())
        else:
            print(f"The UNet of {start} has another shape: only the words are taken from there.", flush=True)
        known = old.tokenizer.get_vocab()
        for mine, theirs in zip(encoders, (old.text_encoder, old.text_encoder_2), strict=True):
            table, before = (e.get_input_embeddings().weight.detach().clone() for e in (mine, theirs))
            for i, word in enumerate(words):
                if word in known:
                    table[i] = before[known[word]]
            states = {k: v for k, v in theirs.state_dict().items() if "token_embedding" not in k}
            mine.load_state_dict(states, strict=False)
            mine.get_input_embeddings().weight.data.copy_(table)
    for module in unet.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = dropout
    return unet, encoders[0], encoders[1]


def save_state(path: Path, state: dict[str, Any]) -> None:
    """Writes the state beside `path` and moves it there, so that a killed run keeps the previous state."""
    part = path.with_suffix(".part")
    torch.save(state, part)
    part.replace(path)


def prepare(
    sprites: list[Sprite], variants: int, known: list[str] | None = None
) -> tuple[list[str], Packed, Packed | None]:
    """Prepares vocabulary, training data and held-out data (None where there are too few sprites to hold any back)."""
    kept = [s for s in sprites if not s.held_out]
    held = [s for s in sprites if s.held_out]
    words = known or vocabulary(kept, 2 if len(kept) > 200 else 1)
    return words, pack(kept or sprites, words, variants), pack(held, words, 1) if held else None


def open_run(arguments: argparse.Namespace, finished: str = "") -> tuple[Workers, torch.device, dict[str, Any] | None]:
    """Makes the output folder; returns the workers, this worker's device and the state of an unfinished run.

    Args:
        finished: name of the file in the output folder that a finished run leaves.

    Raises:
        InvalidRequest: the folder holds a run, and --resume is not given.
    """
    torch.set_float32_matmul_precision("high")
    workers = Workers()
    device = workers.device(arguments.device or ("cuda" if torch.cuda.is_available() else "cpu"))
    if device.type == "cuda":
        torch.cuda.set_device(device)
    out: Path = arguments.out
    state = out / STATE
    saved = torch.load(state, map_location="cpu", weights_only=True) if state.exists() else None
    if not arguments.resume and (saved or (finished and (out / finished).exists())):
        raise InvalidRequest(f"{out} holds an unfinished or finished run. Pass --resume to go on, or another --out.")
    out.mkdir(parents=True, exist_ok=True)
    return workers, device, saved


def train(arguments: argparse.Namespace) -> None:
    """Runs the command.

    Raises:
        InvalidRequest: no data, or a state file of another run.
    """
    workers, device, saved = open_run(arguments)
    out: Path = arguments.out
    plan = Plan(**saved["plan"]) if saved else Plan(
        steps=arguments.steps, batch=arguments.batch, rate=arguments.rate, average=arguments.average,
        dropout=arguments.dropout, seed=arguments.seed, warmup=min(300, max(1, arguments.steps // 10)),
    )  # fmt: skip

    started = time.monotonic()
    words, packed, held = prepare(
        (all_sprites if arguments.all else read_sprites)(arguments.data, arguments.colors),
        arguments.variants,
        saved["words"] if saved else None,
    )
    architecture = Architecture(blocks=tuple(arguments.blocks), layers=arguments.layers)
    models = build(words, None if saved else arguments.start, architecture, plan.dropout)
    objective = Objective(*models, packed, words)
    trainer = Trainer(objective, plan, device, device.type == "cuda", workers.rank)
    if saved:
        trainer.restore(saved)
    if workers.first:
        size = sum(p.numel() for p in objective.parameters()) / 1e6
        print(
            f"{len(packed.images)} pictures, {len(words)} words, {size:.2f} million parameters on "
            f"{workers.count} x {device.type}, {time.monotonic() - started:.0f} s to read",
            flush=True,
        )
    run(
        trainer,
        workers,
        arguments,
        words,
        lambda: held_out_loss(objective, held, words) if held else float("nan"),
        started,
    )
    if workers.first:
        trainer.use_best()
        with trainer.averaged():
            save_checkpoint(out / "checkpoint", *_halves(objective), words)
        print(f"Wrote {out / 'checkpoint'}", flush=True)
    workers.leave()


def run(
    trainer: Trainer,
    workers: Workers,
    arguments: argparse.Namespace,
    words: list[str],
    measure: Callable[[], float],
    started: float,
) -> None:
    """Trains until the plan or the minutes are done; log and state go to `arguments.out`.

    Args:
        arguments: has out, minutes, report, save.
        measure: the loss on held-out sprites.
        started: when reading began, by `time.monotonic`.
    """
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    bar = Progress(*columns, disable=not (workers.first and sys.stdout.isatty()))
    task = bar.add_task("training", total=trainer.plan.steps, completed=trainer.done)
    losses: list[float] = []
    first, clock = trainer.done, started
    with bar, (arguments.out / "log.jsonl").open("a", encoding="utf-8") as log:
        while trainer.done < trainer.plan.steps:
            trainer.step()
            bar.advance(task)
            if trainer.done == trainer.plan.warmup:
                trainer.restart_average()
            if arguments.minutes and trainer.done == first + 100:
                float(trainer.loss)  # waits for the device
                clock = time.monotonic()
            if arguments.minutes and trainer.done == first + 300:
                # the time that is left decides the length, so that the rate is zero when the minutes end
                float(trainer.loss)
                pace = (time.monotonic() - clock) / 200
                more = int((started + 60 * arguments.minutes - time.monotonic()) / pace)
                steps = workers.agree(trainer.done + max(0, more))
                trainer.plan = replace(trainer.plan, steps=steps)
                bar.update(task, total=steps)
                if workers.first:
                    print(f"{pace * 1e3:.1f} ms a step, {steps} steps until the time is up", flush=True)
            late = arguments.minutes and trainer.done % EVERY == 0 and trainer.done > first + 300
            if late and workers.agree(int(time.monotonic() - started > 60 * arguments.minutes + GRACE)):
                trainer.plan = replace(trainer.plan, steps=trainer.done)
            last = trainer.done >= trainer.plan.steps
            if last or trainer.done % EVERY == 0:
                workers.average(trainer.parameters)
            reporting = trainer.done % arguments.report == 0 or last
            if reporting:
                workers.average(trainer.averages)
            if trainer.done % 20 == 0 or last or not losses:
                losses.append(float(trainer.loss))
            if workers.first and reporting:
                with trainer.averaged():
                    held_loss = measure()
                trainer.keep_best(held_loss)
                line = {
                    "step": trainer.done,
                    "images": trainer.done * trainer.plan.batch * workers.count,
                    "loss": round(float(np.mean(losses[-50:])), 5),
                    "held_out": round(held_loss, 5),
                    "seconds": round(time.monotonic() - started, 1),
                }
                log.write(json.dumps(line) + "\n")
                log.flush()
                print(json.dumps(line), flush=True)
            if workers.first and (trainer.done % arguments.save == 0 or last):
                save_state(arguments.out / STATE, {**trainer.state(), "words": words})


def _halves(objective: Objective) -> tuple[Any, Any, Any]:
    """Copies for a checkpoint: saving in half precision must not touch the weights of the run."""
    unet, *encoders = (
        copy.deepcopy(m).cpu() for m in (objective.unet, objective.text_encoder, objective.text_encoder_2)
    )
    return unet, encoders[0], encoders[1]


def main(argv: list[str] | None = None) -> int:
    """Reads the command line, trains, and says in one line what was wrong."""
    parser = argparse.ArgumentParser(prog="python -m pipelines.embedded.training.train", description=__doc__)
    parser.add_argument("data", nargs="+", type=Path, help="folders with a metadata.jsonl, or folders that hold such")
    parser.add_argument("--out", type=Path, required=True, help="folder for state, log and checkpoint")
    parser.add_argument(
        "--from",
        dest="start",
        type=Path,
        nargs="?",
        const=CHECKPOINT,
        help="begin from a checkpoint (default: the shipped one)",
    )
    parser.add_argument(
        "--all", action="store_true", help="also the drawings of training.drawn, folk of other races, other sizes"
    )
    parser.add_argument("--resume", action="store_true", help="go on with the run in --out")
    parser.add_argument("--device", help="cuda or cpu (default: cuda where there is one)")
    parser.add_argument("--steps", type=int, default=20_000)
    parser.add_argument("--minutes", type=float, help="as many steps as fit into these minutes, reading included")
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--rate", type=float, default=6e-4, help="highest learning rate")
    parser.add_argument("--average", type=float, default=0.9995, help="decay of the moving average that is saved")
    parser.add_argument("--dropout", type=float, default=0.05)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--colors", type=int, default=16, help="colours of a training sprite; 0 leaves them as they are"
    )
    parser.add_argument(
        "--variants", type=int, default=VARIANTS, help="colour variants of a sprite, the original included"
    )
    parser.add_argument(
        "--blocks", type=int, nargs=3, default=Architecture().blocks, help="channels of the three levels"
    )
    parser.add_argument("--layers", type=int, default=1)
    parser.add_argument("--report", type=int, default=1000, help="steps between two lines of the log")
    parser.add_argument("--save", type=int, default=2000, help="steps between two saved states")
    try:
        train(parser.parse_args(argv))
    except PipelineError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
