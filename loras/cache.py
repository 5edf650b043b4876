"""Encode the training pictures and captions once, before the first step: latents and text embeddings.

Encoding a picture of 1024 px takes a third of the time of a training step. The cache is one safetensors file. A run
that is resumed after a crash learns from the same bytes, even if the pictures have changed since.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from loras import captions
from loras.buckets import Fitted, fit_canvas, fit_pixels
from loras.errors import DatasetError, TrainingError
from loras.files import synced
from loras.options import TrainOptions
from pipelines.embedded.words import read_prompt

if TYPE_CHECKING:
    from loras.dataset import Dataset, Example
    from pipelines.sdxl.loading import Resident


@dataclass(frozen=True, slots=True, eq=False)
class Bucket:
    """`n` pictures of one shape. `mean`, `std` (n, c, h, w): the autoencoder's distribution, as the UNet sees it.

    `mask` (n, 1, h, w) in 0..1: how much of each latent cell is opaque; None: everything is learned.
    """

    mean: Tensor
    std: Tensor
    sizes: Tensor  # (n, 6): original height, width, crop top, left, target height, width
    caption: Tensor  # (n,) int64: row of the embeddings
    mask: Tensor | None = None

    def rows(self, indices: Sequence[int]) -> Bucket:
        """Returns the bucket with only some of its pictures."""
        index = list(indices)
        mask = None if self.mask is None else self.mask[index]
        return Bucket(self.mean[index], self.std[index], self.sizes[index], self.caption[index], mask)


@dataclass(frozen=True, slots=True, eq=False)
class Cache:
    """All that is learned. Row 0 of `hidden` (captions, tokens, width) and `pooled` (captions, width): no caption."""

    buckets: tuple[Bucket, ...]
    hidden: Tensor
    pooled: Tensor
    about: dict[str, Any]

    @property
    def count(self) -> int:
        """Pictures."""
        return sum(len(b.mean) for b in self.buckets)

    def save(self, path: Path) -> None:
        """Writes the cache whole or not at all.

        Raises:
            OSError: as the operating system says; nothing is left behind.
        """
        from safetensors.torch import save

        tensors = {"hidden": self.hidden, "pooled": self.pooled}
        for i, bucket in enumerate(self.buckets):
            for name in ("mean", "std", "sizes", "caption"):
                tensors[f"{i}.{name}"] = getattr(bucket, name)
            if bucket.mask is not None:
                tensors[f"{i}.mask"] = bucket.mask
        data = save({k: v.contiguous().cpu() for k, v in tensors.items()}, {"about": json.dumps(self.about)})
        with synced(path) as file:
            file.write(data)

    @staticmethod
    def load(path: Path) -> Cache:
        """Returns the cache that `save` wrote.

        Raises:
            TrainingError: the file is broken.
        """
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(path, framework="pt") as file:
                about = json.loads(file.metadata()["about"])
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no dict)
        except (SafetensorError, OSError, KeyError, ValueError) as error:
            raise TrainingError(
                f"{path} is broken ({error}). Remove it and resume the job: it is made again."
            ) from error
        buckets = []
        while f"{len(buckets)}.mean" in tensors:
            i = len(buckets)
            mean, std, sizes, caption = (tensors[f"{i}.{n}"] for n in ("mean", "std", "sizes", "caption"))
            buckets.append(Bucket(mean, std, sizes, caption, tensors.get(f"{i}.mask")))
        return Cache(tuple(buckets), tensors["hidden"], tensors["pooled"], about)


def build_cache(
    resident: Resident,
    dataset: Dataset,
    options: TrainOptions,
    trigger: str = "",
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> Cache:
    """Fits every picture into its bucket and encodes pictures and captions.

    Args:
        on_progress: (done, total) pictures; raising from it ends the work.

    Raises:
        DatasetError: no picture fits the model's canvas.
    """
    fitted, refused = _fit(resident, dataset.examples, options)
    if not fitted:
        raise DatasetError(
            f"None of the {len(refused)} pictures fits this model's {options.resolution}x{options.resolution} canvas. "
            "Give smaller sprites (or their true pixels: an enlarged picture counts at its large size), or train an "
            "SDXL model."
        )
    read = [said_to(resident, captions.with_trigger(trigger, e.caption), fit.native[0]) for e, fit in fitted]
    said = [caption for caption, _ in read]
    rows = {"": 0} | {caption: i + 1 for i, caption in enumerate(dict.fromkeys(c for c in said if c))}
    embeddings = [resident.prompts.encode(c) if c else resident.prompts.encode_negative("") for c in rows]
    groups: dict[tuple[int, ...], list[int]] = defaultdict(list)
    for i, (_, fit) in enumerate(fitted):
        groups[fit.image.shape].append(i)
    buckets, done = [], 0
    for shape in sorted(groups):
        means, stds, sizes = [], [], []
        for i in groups[shape]:
            mean, std = _encode(resident, fitted[i][1])
            means.append(mean)
            stds.append(std)
            sizes.append([*fitted[i][1].native, 0, 0, *shape[:2]])
            done += 1
            on_progress(done, len(fitted))
        index = torch.tensor([rows[said[i]] for i in groups[shape]])
        height, width = means[0].shape[-2:]
        mask = _mask([fitted[i][1] for i in groups[shape]], (height, width)) if options.masked else None
        sized = torch.tensor(sizes, dtype=torch.float32)
        buckets.append(Bucket(torch.cat(means), torch.cat(stds), sized, index, mask))
    about = {
        "pictures": len(fitted),
        "captions": [c for c in rows if c],
        "unread": [word for word in dict.fromkeys(w for _, left in read for w in left) if word != trigger.lower()],
        "refused": [{"file": source, "why": why} for source, why in refused],
        "dataset": dataset.digest,
        "shapes": {f"{s[1]}x{s[0]}": len(g) for s, g in sorted(groups.items())},
    }
    # Tensors that were made in inference mode cannot be learned from: copies can.
    hidden, pooled = (torch.cat([getattr(e, n) for e in embeddings]).clone() for n in ("hidden", "pooled"))
    return Cache(tuple(buckets), hidden, pooled, about)


def _fit(
    resident: Resident, examples: Sequence[Example], options: TrainOptions
) -> tuple[list[tuple[Example, Fitted]], list[tuple[str, str]]]:
    fitted, refused = [], []
    for example in examples:
        if not resident.model.draws_pixels:
            fitted.append((example, fit_canvas(example.image, options.resolution)))
        elif (fit := fit_pixels(example.image)) is not None:
            fitted.append((example, fit))
        else:
            height, width = example.image.shape[:2]
            side = options.resolution
            refused.append((example.source, f"{width}x{height} is larger than the model's {side}x{side} canvas"))
    return fitted, refused


def said_to(resident: Resident, caption: str, native: int) -> tuple[str, tuple[str, ...]]:
    """Words the caption as the model is asked for a picture of `native` pixels; returns it with the words left out.

    What is drawn is asked for in the embedded model's words ("warg" is a wolf): a LoRA that was taught the caption as
    it stands would learn a word that no prompt contains. A word that a word-level model cannot read is left out.
    """
    left = None
    if resident.model.vocabulary is not None:
        reading = read_prompt(caption, native)
        caption, left = reading.text, reading.unknown
    unread = resident.prompts.unread_words(caption)
    if unread:
        caption = " ".join(w for w in caption.lower().split() if w.strip(".,;:!?'\"") not in unread)
    return caption, unread if left is None else left


def _mask(fitted: Sequence[Fitted], cells: tuple[int, int]) -> Tensor | None:
    """Returns (n, 1, h, w), the opaque share of each latent cell; None where all is opaque or the model draws alpha."""
    shown = [torch.from_numpy(fit.shown) for fit in fitted if fit.shown is not None]
    if len(shown) != len(fitted) or all(bool((one == 1).all()) for one in shown):
        return None
    return torch.nn.functional.adaptive_avg_pool2d(torch.stack(shown).unsqueeze(1), cells)


@torch.no_grad()
def _encode(resident: Resident, fitted: Fitted) -> tuple[Tensor, Tensor]:
    """Returns mean and standard deviation of the picture's latents, (1, c, h, w) each, in float32: SDXL's autoencoder
    overflows in half precision."""
    vae = resident.vae
    before = vae.dtype
    pixels = torch.from_numpy(fitted.image).movedim(-1, 0).unsqueeze(0).float().to(resident.device)
    alpha = pixels[:, 3:] / 255
    values = pixels[:, :3] / 127.5 - 1
    values = torch.cat([values * alpha.round(), alpha * 2 - 1], dim=1) if vae.config.in_channels == 4 else values
    if before != torch.float32:
        vae.to(torch.float32)
    distribution = vae.encode(values).latent_dist
    if before != torch.float32:
        vae.to(before)
    scale = vae.config.scaling_factor
    mean = distribution.mean * scale
    std = distribution.std * scale if hasattr(distribution, "std") else torch.zeros_like(mean)
    return mean.cpu(), std.cpu()
