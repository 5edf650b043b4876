"""How far sprites are from a style: palette histogram, outline share, KID; and how sure a difference is.

Fixed before any LoRA was trained, and not changed since. Distances are to a reference: other sprites in the style,
which no LoRA was trained on. Sources: KID (Bińkowski et al. 2018); Wilcoxon's signed-rank test (1945).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pipelines.pixels.oklab import to_oklab
from pipelines.records import Pixels

DARK = 0.35
"""OKLab lightness up to which a pixel counts as outline."""
RIM = 2
"""Pixels from the edge that belong to the rim."""
PERMUTATIONS = 5000
_LEVELS, _HUES = 8, 6

Values = NDArray[np.float64]


def palette_histogram(image: Pixels) -> Values:
    """(8 * 6 * 6,): shares of the opaque pixels in a grid over OKLab; sums to 1 (0 for an empty picture)."""
    pixels = image[image[..., 3] >= 128][:, :3]
    lab = to_oklab(pixels)
    level = np.clip((lab[:, 0] * _LEVELS).astype(int), 0, _LEVELS - 1)
    hue = np.clip(((lab[:, 1:] + 0.3) / 0.6 * _HUES).astype(int), 0, _HUES - 1)
    index = (level * _HUES + hue[:, 0]) * _HUES + hue[:, 1]
    counts = np.bincount(index, minlength=_LEVELS * _HUES * _HUES).astype(np.float64)
    return counts / max(1, len(pixels))


def palette_distances(images: Sequence[Pixels], reference: Sequence[Pixels]) -> Values:
    """(n,) Hellinger distance, 0..1, of each picture's histogram to the reference's mean histogram."""
    mean = np.mean([palette_histogram(r) for r in reference], axis=0)
    rows = np.stack([palette_histogram(i) for i in images])
    return np.sqrt(0.5 * ((np.sqrt(rows) - np.sqrt(mean)) ** 2).sum(axis=1))


def outline_share(image: Pixels) -> float:
    """Share of dark pixels in the rim: opaque pixels at most RIM steps from transparency; 0 where there is no rim."""
    opaque = image[..., 3] >= 128
    inner = opaque
    for _ in range(RIM):
        padded = np.pad(inner, 1, constant_values=True)
        h, w = inner.shape
        inner = inner & padded[:h, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :w] & padded[1:-1, 2:]
    rim = opaque & ~inner
    return float((to_oklab(image[rim][:, :3])[:, 0] <= DARK).mean()) if rim.any() else 0.0


def outline_distances(images: Sequence[Pixels], reference: Sequence[Pixels]) -> Values:
    """(n,) how far each picture's outline share is from the reference's mean, 0..1."""
    mean = np.mean([outline_share(r) for r in reference])
    return np.abs(np.array([outline_share(i) for i in images]) - mean)


def paired_p(base: Values, lora: Values) -> float:
    """p of "the LoRA's distances are not smaller", the same prompt and seed being a pair (Wilcoxon, one-sided)."""
    from scipy.stats import wilcoxon

    if np.array_equal(base, lora):
        return 1.0
    return float(wilcoxon(base, lora, alternative="greater").pvalue)  # pyright: ignore[reportAttributeAccessIssue]


def kernel(a: Values, b: Values) -> Values:
    """KID's polynomial kernel between rows of features: (a.b / width + 1)^3."""
    return (a @ b.T / a.shape[1] + 1) ** 3


def kid(features: Values, reference: Values) -> float:
    """Unbiased squared MMD between rows of features: 0 on average for two draws from one distribution."""
    n, m = len(features), len(reference)
    own, other = kernel(features, features), kernel(reference, reference)
    within = (own.sum() - np.trace(own)) / (n * (n - 1)) + (other.sum() - np.trace(other)) / (m * (m - 1))
    return float(within - 2 * kernel(features, reference).mean())


def kid_p(base: Values, lora: Values, reference: Values, seed: int = 0) -> float:
    """p of "the LoRA's KID is not smaller": each pair (same prompt and seed) is swapped or not, PERMUTATIONS times."""
    n = len(base)
    both = np.concatenate([base, lora])
    own = kernel(both, both)
    np.fill_diagonal(own, 0)
    cross = kernel(both, reference).mean(axis=1)

    def difference(first: NDArray[np.intp], second: NDArray[np.intp]) -> float:
        # the reference's own term is the same on both sides
        inside = own[np.ix_(first, first)].sum() - own[np.ix_(second, second)].sum()
        return inside / (n * (n - 1)) - 2 * (cross[first].mean() - cross[second].mean())

    rng = np.random.default_rng(seed)
    order = np.arange(n)
    observed = difference(order, order + n)
    reached = 0
    for _ in range(PERMUTATIONS):
        swapped = np.where(rng.random(n) < 0.5, n, 0)
        reached += difference(order + swapped, order + n - swapped) >= observed
    return (reached + 1) / (PERMUTATIONS + 1)
