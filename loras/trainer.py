"""Train a LoRA over cached latents and embeddings, one step at a time.

The random numbers of a step come from a generator seeded by the run's seed and the step's number, so a step depends
only on the state before it. A run that is resumed from `state` gives the same weights as one without a break, bit for
bit on a CPU.
"""

from __future__ import annotations

import io
import math
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext, redirect_stdout
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.optim.swa_utils import get_ema_multi_avg_fn

from loras.adapter import add_adapter
from loras.cache import Bucket, Cache
from loras.errors import TrainingError
from loras.files import synced
from loras.loss import NoiseSchedule, spread_times
from loras.options import TrainOptions
from loras.replay import Replayed
from loras.text import LearningEncoders

if TYPE_CHECKING:
    from pipelines.sdxl.loading import Resident


VALIDATION_TIMES = (0.1, 0.35, 0.6, 0.85)
"""Shares of the timesteps at which a held-out picture is seen."""


class Trainer:
    """One training run. It adds an adapter to a resident model's UNet, and to its text encoders where they learn."""

    def __init__(self, resident: Resident, cache: Cache, options: TrainOptions) -> None:
        """
        Raises:
            TrainingError: the model's kind of prediction cannot be trained.
        """
        self.resident, self.cache, self.options = resident, cache, options
        self.done = 0
        self.losses: list[float] = []
        self.validations: list[tuple[int, float]] = []
        """(step, loss) of the pictures that are held out."""
        self.buckets, self.held = hold_out(cache, options)
        device = resident.device
        self.schedule = NoiseSchedule.of(resident.scheduler, options.snr_limit).to(device)
        self.unet = resident.unet
        self.weights = add_adapter(self.unet, options)
        groups = [list(self.weights.values())]
        self.text: LearningEncoders | None = None
        if options.text_rate:
            blank = not bool(cache.hidden[0].any())
            self.text = LearningEncoders(resident, cache.about["captions"], blank, options)
            self.weights |= self.text.weights
            groups.append(list(self.text.weights.values()))
        parameters = list(self.weights.values())
        self.averages = [p.detach().clone() for p in parameters] if options.average else []
        if options.checkpointing:
            self.unet.enable_gradient_checkpointing()
        self._shares = (1.0, options.text_rate / options.rate)[: len(groups)]
        """Each group's learning rate, of the UNet's."""
        self._rates: list[Tensor] = []
        if device.type == "cuda":
            # the UNet may lie as compiled blocks want it, which is slower without them
            self.unet.to(memory_format=torch.contiguous_format)
        self.replayed = Replayed(self._learn, device)
        self._updates_apart = options.optimizer == "prodigy"
        """Prodigy reads its estimate of the rate back at every step: its update cannot be replayed."""
        if self._updates_apart:
            self.optimizer = make_prodigy(parameters, options.rate)
            for parameter in parameters:  # every graph adds to these
                parameter.grad = torch.zeros_like(parameter)
        else:
            on_gpu: dict[str, Any] = {"fused": None, "capturable": False}
            if device.type == "cuda":
                # a graph reads them where they lie
                self._rates = [torch.tensor(options.rate * share, device=device) for share in self._shares]
                on_gpu = {"fused": True, "capturable": True}
            rates = self._rates or [options.rate * share for share in self._shares]
            learned: list[dict[str, Any]] = [{"params": g, "lr": r} for g, r in zip(groups, rates, strict=True)]
            self.optimizer = torch.optim.AdamW(learned, lr=rates[0], betas=(0.9, 0.99), weight_decay=0.01, **on_gpu)
        self._plan: tuple[int, list[tuple[int, list[int]]]] = (-1, [])

    def step(self) -> float:
        """Returns one step; returns its loss.

        Raises:
            TrainingError: the loss is NaN or infinite.
        """
        options, device = self.options, self.resident.device
        draws = torch.Generator().manual_seed(options.seed * 1_000_003 + self.done)
        # 1. the batch
        bucket, rows = self.next_batch()
        latents = bucket.mean[rows] + bucket.std[rows] * torch.randn(bucket.mean[rows].shape, generator=draws)
        noise = torch.randn(latents.shape, generator=draws)
        uniform = torch.rand(2, len(rows), generator=draws)
        caption = bucket.caption[rows].masked_fill(uniform[1] < options.caption_dropout, 0)
        # 2. noise at a random time
        times = spread_times(uniform[0], len(self.schedule.alphas)).to(device)
        seen, target = self.schedule.noised(latents.to(device), noise.to(device), times)
        # 3. the loss and the optimizer step
        self._set_rate(options.rate_at(self.done))
        dtype = self.resident.dtype
        with self._dropping():
            value = self.replayed(
                seen.to(dtype),
                target,
                times,
                bucket.sizes[rows].to(device, dtype),
                *self._words(caption),
                *(() if bucket.mask is None else (bucket.mask[rows].to(device),)),
            ).item()
        if self._updates_apart:
            self.optimizer.step()
        if not math.isfinite(value):
            raise TrainingError(
                f"The loss is NaN or infinite at step {self.done + 1}. Start again with a lower rate (now "
                f"{options.rate:g}; a third of it is a good next try)."
            )
        if self.averages:
            # EMA warm-up: (1 + t) / (10 + t), as in TensorFlow's ExponentialMovingAverage
            decay = min(options.average, (1 + self.done) / (10 + self.done))
            get_ema_multi_avg_fn(decay)(self.averages, list(self.weights.values()), self.done)
        self.done += 1
        self.losses.append(value)
        return value

    @torch.no_grad()
    def validate(self) -> float | None:
        """Measures the loss of the pictures that are held out; None where none are.

        Each picture is seen at VALIDATION_TIMES with the same noise at every call, so that two values differ by what
        was learned alone. Of the averaged weights where there is an average: these are exported.
        """
        if not self.held:
            return None
        device, dtype = self.resident.device, self.resident.dtype
        losses = []
        with self.averaged():
            for number, (bucket, row) in enumerate(self.held):
                draws = torch.Generator().manual_seed(self.options.seed * 1_000_003 + 700_001 + number)
                one = bucket.rows([row])
                for share in VALIDATION_TIMES:
                    times = torch.tensor([int(share * len(self.schedule.alphas))], device=device)
                    noise = torch.randn(one.mean.shape, generator=draws)
                    seen, target = self.schedule.noised(one.mean.to(device), noise.to(device), times)
                    with self._precision():
                        words = self._embed(self._words(one.caption))
                        predicted = self._predict(seen.to(dtype), times, *words, one.sizes.to(device, dtype))
                    mask = None if one.mask is None else one.mask.to(device)
                    losses.append(self.schedule.loss(predicted, target, times, mask))
        value = float(torch.stack(losses).mean())
        self.validations.append((self.done, value))
        return value

    def _words(self, caption: Tensor) -> tuple[Tensor, ...]:
        """Returns what `_embed` takes for these captions (rows of the cache), on the device."""
        if self.text:
            return self.text.inputs(caption)
        device, dtype = self.resident.device, self.resident.dtype
        return self.cache.hidden[caption].to(device, dtype), self.cache.pooled[caption].to(device, dtype)

    def _embed(self, words: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Returns hidden states and pooled output: as they were cached, or encoded where the encoders learn."""
        if self.text:
            return self.text.encode(*words)
        hidden, pooled = words
        return hidden, pooled

    def _predict(self, seen: Tensor, times: Tensor, hidden: Tensor, pooled: Tensor, sizes: Tensor) -> Tensor:
        return self.unet(
            seen,
            times,
            encoder_hidden_states=hidden,
            added_cond_kwargs={"text_embeds": pooled, "time_ids": sizes},
            return_dict=False,
        )[0]

    @contextmanager
    def _dropping(self) -> Iterator[None]:
        """Switches the adapter's dropout on within the block, with random numbers of this step alone.

        A graph reads the generator's seed when it is replayed, so it draws what a plain step would.
        """
        models = [self.unet, *(self.text.modules if self.text else ())]
        layers = [
            m
            for model in models
            for m in model.modules()
            if isinstance(m, torch.nn.Dropout) and m.p > 0 and hasattr(m, "adapter")
        ]
        if not layers:
            yield
            return
        device = self.resident.device
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            torch.manual_seed(self.options.seed * 1_000_003 + self.done)
            for layer in layers:
                layer.train()
            try:
                yield
            finally:
                for layer in layers:
                    layer.eval()

    def _learn(
        self,
        seen: Tensor,
        target: Tensor,
        times: Tensor,
        sizes: Tensor,
        *more: Tensor,
    ) -> Tensor:
        """Runs forward, backward and update. Returns the loss as a tensor: reading it would wait for the device."""
        self.optimizer.zero_grad(set_to_none=not self._updates_apart)
        count = 3 if self.text else 2
        words, mask = more[:count], next(iter(more[count:]), None)
        with self._precision():
            predicted = self._predict(seen, times, *self._embed(words), sizes)
        loss = self.schedule.loss(predicted, target, times, mask)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.weights.values(), 1.0)
        if not self._updates_apart:
            self.optimizer.step()
        return loss.detach()

    def _set_rate(self, rate: float) -> None:
        for i, group in enumerate(self.optimizer.param_groups):  # Prodigy has one
            own = rate * self._shares[i]
            group["lr"] = self._rates[i].fill_(own) if self._rates else own

    def _precision(self) -> Any:
        if self.resident.device.type == "cuda":
            return torch.autocast("cuda", torch.bfloat16, cache_enabled=False)  # a graph keeps no casts
        return nullcontext()

    def next_batch(self) -> tuple[Bucket, list[int]]:
        """Returns bucket and rows of this step. Each picture comes once per epoch, in batches of one shape."""
        per_epoch = sum(-(-len(b.mean) // self.options.batch) for b in self.buckets)
        epoch, place = divmod(self.done, per_epoch)
        if self._plan[0] != epoch:
            self._plan = epoch, self._epoch(epoch)
        index, rows = self._plan[1][place]
        return self.buckets[index], rows

    def _epoch(self, epoch: int) -> list[tuple[int, list[int]]]:
        draws = torch.Generator().manual_seed(self.options.seed * 1_000_003 + epoch + 500_009)
        batches: list[tuple[int, list[int]]] = []
        size = self.options.batch
        for index, bucket in enumerate(self.buckets):
            n = len(bucket.mean)
            order = torch.randperm(n, generator=draws).tolist()
            for start in range(0, n, size):
                # a short last batch is filled from the beginning; with few pictures some repeat in a batch
                batches.append((index, [order[i % n] for i in range(start, start + size)]))
        return [batches[i] for i in torch.randperm(len(batches), generator=draws).tolist()]

    # the state of a run

    def state(self) -> dict[str, Any]:
        """Returns everything that the next step depends on."""
        return {
            "options": asdict(self.options),
            "dataset": self.cache.about["dataset"],
            "base": self.resident.revision,
            "done": self.done,
            "losses": self.losses,
            "validations": self.validations,
            "weights": {name: p.detach() for name, p in self.weights.items()},
            "averages": self.averages,
            "optimizer": self.optimizer.state_dict(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Continues from `state`.

        Raises:
            TrainingError: the state is of another run.
        """
        mine = (asdict(self.options), self.cache.about["dataset"], self.resident.revision)
        given = asdict(TrainOptions()) | state["options"]  # a checkpoint of an earlier version has fewer of them
        if (given, state["dataset"], state["base"]) != mine:
            raise TrainingError(
                "The checkpoint is of a run with other options, other pictures or another version of the model. Start "
                "a new job instead."
            )
        with torch.no_grad():
            for name, parameter in self.weights.items():
                parameter.copy_(state["weights"][name])
            for mine, theirs in zip(self.averages, state["averages"], strict=True):
                mine.copy_(theirs)
        # fused and capturable belong to this device, also if the checkpoint comes from another
        present = self.optimizer.param_groups[0]
        how = {name: present[name] for name in ("fused", "capturable") if name in present}
        groups = [{**group, **how} for group in state["optimizer"]["param_groups"]]
        self.optimizer.load_state_dict({**state["optimizer"], "param_groups": groups})
        self.replayed.forget()
        self.done, self.losses = state["done"], list(state["losses"])
        self.validations = [(step, loss) for step, loss in state.get("validations", ())]

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """Gives the UNet the averaged weights during the block; without averages it keeps the trained ones."""
        if not self.averages:
            yield
            return
        kept = [p.detach().clone() for p in self.weights.values()]
        self._put(self.averages)
        try:
            yield
        finally:
            self._put(kept)

    @torch.no_grad()
    def _put(self, values: Sequence[Tensor]) -> None:
        for parameter, value in zip(self.weights.values(), values, strict=True):
            parameter.copy_(value)

    def factors(self) -> dict[str, Tensor]:
        """Returns the LoRA by PEFT's names (`...to_q.lora_A.weight`), float32 on the CPU, averaged if asked.

        `lora_B` is scaled by alpha / rank: with these factors alpha is the rank, which every loader assumes.
        """
        with self.averaged():
            found = {name: p.detach().float().cpu().clone() for name, p in self.weights.items()}
        return {name: p * self.options.scale if ".lora_B." in name else p for name, p in found.items()}


def hold_out(cache: Cache, options: TrainOptions) -> tuple[tuple[Bucket, ...], list[tuple[Bucket, int]]]:
    """Returns the buckets to learn from and (bucket, row) of each picture that is held out, chosen by the run's seed.

    Raises:
        TrainingError: one picture cannot be split.
    """
    count = options.held_out(cache.count)
    if not options.validation:
        return cache.buckets, []
    if cache.count < 2:
        raise TrainingError("One picture cannot be split into what is learned and what is held out. Give more.")
    draws = torch.Generator().manual_seed(options.seed * 1_000_003 + 600_001)
    places = [(index, row) for index, bucket in enumerate(cache.buckets) for row in range(len(bucket.mean))]
    held = sorted(places[i] for i in torch.randperm(len(places), generator=draws)[:count].tolist())
    left = [[row for row in range(len(b.mean)) if (i, row) not in held] for i, b in enumerate(cache.buckets)]
    kept = tuple(bucket.rows(rows) for bucket, rows in zip(cache.buckets, left, strict=True) if rows)
    return kept, [(cache.buckets[index], row) for index, row in held]


def make_prodigy(parameters: Sequence[torch.nn.Parameter], rate: float) -> torch.optim.Optimizer:
    """Makes the optimizer Prodigy (Mishchenko & Defazio 2023), which finds its rate itself, with the settings that
    LoRA trainers use: bias correction, a safeguard while the rate rises, decoupled weight decay.

    Raises:
        TrainingError: its library is not installed.
    """
    try:
        from prodigyopt import Prodigy
    except ImportError:
        raise TrainingError(
            "optimizer=prodigy needs the package prodigyopt: pip install 'dgx-pixels[train]'. The default, adamw, "
            "needs nothing more."
        ) from None
    with redirect_stdout(sys.stderr):  # it prints that its weight decay is decoupled
        return Prodigy(
            parameters,
            lr=rate,
            betas=(0.9, 0.99),
            weight_decay=0.01,  # pyright: ignore[reportArgumentType] (its default is written 0)
            use_bias_correction=True,
            safeguard_warmup=True,
        )


def save_state(path: Path, state: dict[str, Any]) -> None:
    """Writes a trainer's state whole or not at all.

    Raises:
        OSError: as the operating system says; the state before is still there.
    """
    data = io.BytesIO()  # torch's own writer says of a full disk only that a position is unexpected
    torch.save(state, data)
    with synced(path) as file:
        file.write(data.getbuffer())


def load_state(path: Path) -> dict[str, Any]:
    """Reads the state that `save_state` wrote.

    Raises:
        TrainingError: the file is broken.
    """
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch may raise any error for damaged bytes
        raise TrainingError(f"{path} is broken ({error}). Remove it to begin the run again.") from error
