"""Train a LoRA over cached latents and embeddings, one step at a time.

The random numbers of a step come from a generator seeded by the run's seed and the step's number, so a step depends
only on the state before it. A run that is resumed from `state` gives the same weights as one without a break, bit for
bit on a CPU.
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.optim.swa_utils import get_ema_multi_avg_fn

from loras.cache import Bucket, Cache
from loras.errors import TrainingError
from loras.files import synced
from loras.loss import NoiseSchedule, spread_times
from loras.options import TrainOptions
from loras.replay import Replayed

if TYPE_CHECKING:
    from pipelines.sdxl.loading import Resident


class Trainer:
    """One training run. It adds an adapter to the UNet of a resident model, which must not draw until the run ends."""

    def __init__(self, resident: Resident, cache: Cache, options: TrainOptions) -> None:
        """
        Raises:
            TrainingError: the model's kind of prediction cannot be trained.
        """
        self.resident, self.cache, self.options = resident, cache, options
        self.done = 0
        self.losses: list[float] = []
        device = resident.device
        self.schedule = NoiseSchedule.of(resident.scheduler, options.snr_limit).to(device)
        self.unet = resident.unet
        self.weights = add_adapter(self.unet, options)
        parameters = list(self.weights.values())
        self.averages = [p.detach().clone() for p in parameters] if options.average else []
        if options.checkpointing:
            self.unet.enable_gradient_checkpointing()
        on_gpu: dict[str, Any] = {"fused": None, "capturable": False}
        self._rate: Tensor | None = None
        if device.type == "cuda":
            # the UNet may lie as compiled blocks want it, which is slower without them
            self.unet.to(memory_format=torch.contiguous_format)
            self._rate = torch.tensor(options.rate, device=device)  # a graph reads it where it lies
            on_gpu = {"fused": True, "capturable": True}
        self.optimizer = torch.optim.AdamW(
            parameters,
            lr=options.rate if self._rate is None else self._rate,
            betas=(0.9, 0.99),
            weight_decay=0.01,
            **on_gpu,
        )
        self.replayed = Replayed(self._learn, device)
        self._plan: tuple[int, list[tuple[int, list[int]]]] = (-1, [])

    def step(self) -> float:
        """One step; returns its loss.

        Raises:
            TrainingError: the loss is NaN or infinite.
        """
        options, device = self.options, self.resident.device
        draws = torch.Generator().manual_seed(options.seed * 1_000_003 + self.done)
        # 1. the batch
        bucket, rows = self._batch()
        latents = bucket.mean[rows] + bucket.std[rows] * torch.randn(bucket.mean[rows].shape, generator=draws)
        noise = torch.randn(latents.shape, generator=draws)
        uniform = torch.rand(2, len(rows), generator=draws)
        caption = bucket.caption[rows].masked_fill(uniform[1] < options.caption_dropout, 0)
        hidden, pooled = self.cache.hidden[caption], self.cache.pooled[caption]
        # 2. noise at a random time
        times = spread_times(uniform[0], len(self.schedule.alphas)).to(device)
        seen, target = self.schedule.noised(latents.to(device), noise.to(device), times)
        # 3. the loss and the optimizer step
        self._set_rate(options.rate_at(self.done))
        dtype = self.resident.dtype
        value = self.replayed(
            seen.to(dtype),
            target,
            times,
            hidden.to(device, dtype),
            pooled.to(device, dtype),
            bucket.sizes[rows].to(device, dtype),
        ).item()
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

    def _learn(
        self, seen: Tensor, target: Tensor, times: Tensor, hidden: Tensor, pooled: Tensor, sizes: Tensor
    ) -> Tensor:
        """Runs forward, backward and update. Returns the loss as a tensor: reading it would wait for the device."""
        self.optimizer.zero_grad(set_to_none=True)
        with self._precision():
            predicted = self.unet(
                seen,
                times,
                encoder_hidden_states=hidden,
                added_cond_kwargs={"text_embeds": pooled, "time_ids": sizes},
                return_dict=False,
            )[0]
        loss = self.schedule.loss(predicted, target, times)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.weights.values(), 1.0)
        self.optimizer.step()
        return loss.detach()

    def _set_rate(self, rate: float) -> None:
        for group in self.optimizer.param_groups:
            group["lr"] = rate if self._rate is None else self._rate.fill_(rate)

    def _precision(self) -> Any:
        if self.resident.device.type == "cuda":
            return torch.autocast("cuda", torch.bfloat16, cache_enabled=False)  # a graph keeps no casts
        return nullcontext()

    def _batch(self) -> tuple[Bucket, list[int]]:
        """Returns bucket and rows of this step. Each picture comes once per epoch, in batches of one shape."""
        per_epoch = sum(-(-len(b.mean) // self.options.batch) for b in self.cache.buckets)
        epoch, place = divmod(self.done, per_epoch)
        if self._plan[0] != epoch:
            self._plan = epoch, self._epoch(epoch)
        index, rows = self._plan[1][place]
        return self.cache.buckets[index], rows

    def _epoch(self, epoch: int) -> list[tuple[int, list[int]]]:
        draws = torch.Generator().manual_seed(self.options.seed * 1_000_003 + epoch + 500_009)
        batches: list[tuple[int, list[int]]] = []
        size = self.options.batch
        for index, bucket in enumerate(self.cache.buckets):
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
        if (state["options"], state["dataset"], state["base"]) != mine:
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
        how = {name: self.optimizer.param_groups[0][name] for name in ("fused", "capturable")}
        groups = [{**group, **how} for group in state["optimizer"]["param_groups"]]
        self.optimizer.load_state_dict({**state["optimizer"], "param_groups": groups})
        self.replayed.forget()
        self.done, self.losses = state["done"], list(state["losses"])

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
        """Returns the LoRA by PEFT's names (`...to_q.lora_A.weight`), float32 on the CPU, averaged if asked."""
        with self.averaged():
            return {name: p.detach().float().cpu().clone() for name, p in self.weights.items()}


def add_adapter(unet: Any, options: TrainOptions) -> dict[str, torch.nn.Parameter]:
    """Adds a new LoRA to the UNet (B = 0, so its output does not change) and freezes all other weights.

    alpha equals the rank, as exporters assume that write none.

    Returns:
        The LoRA's parameters by PEFT's names, in float32.
    """
    from peft import LoraConfig, inject_adapter_in_model

    unet.requires_grad_(False)
    config = LoraConfig(r=options.rank, lora_alpha=options.rank, target_modules=list(options.targets))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(options.seed)
        inject_adapter_in_model(config, unet)
    weights: dict[str, torch.nn.Parameter] = {}
    for name, parameter in unet.named_parameters():
        if "lora_" in name:
            parameter.data = parameter.data.float()
            parameter.requires_grad_(True)
            weights[name.replace(".default", "")] = parameter
    return weights


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
