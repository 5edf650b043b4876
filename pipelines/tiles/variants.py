"""Make variants of a terrain that fit it and each other: one frame for all, with different insides.

An inside comes from another drawing of the terrain, at any shift, since all of them wrap. The border between inside and
frame is a minimum cut (graph-cut textures, Kwatra et al. 2003), so that no square shows. No new colours are made.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.sparse import csr_array
from scipy.sparse.csgraph import breadth_first_order, maximum_flow

from pipelines.pixels.oklab import Lab, from_oklab, to_oklab
from pipelines.pixels.palette import Palette, lock
from pipelines.records import Pixels

SHIFTS = 16
"""Shifts of a texture that are tried, each way."""
TRIED = 6
"""Cuts that are made for each variant wanted."""
_FINE = 4096
"""Cuts are counted in whole numbers: so many for an OKLab distance of 1."""


def match_tone(texture: Pixels, base: Pixels) -> Pixels:
    """Gives a texture the mean colour and contrast of `base`, in the colours of `base`; both (n, n, 4), opaque."""
    lab, wanted = to_oklab(texture[..., :3]), to_oklab(base[..., :3])
    mean, target = lab.mean(axis=(0, 1)), wanted.mean(axis=(0, 1))
    contrast, aim = (float(np.linalg.norm(x - m, axis=-1).mean()) for x, m in ((lab, mean), (wanted, target)))
    gain = np.clip(aim / max(contrast, 1e-3), 0.4, 2.5)
    even = np.concatenate([from_oklab(target + (lab - mean) * gain), texture[..., 3:]], axis=-1)
    colors = np.unique(base[..., :3].reshape(-1, 3), axis=0)
    return lock(even, Palette("base", tuple((int(r), int(g), int(b)) for r, g, b in colors)))


def quilt(base: Pixels, sources: Sequence[Pixels], count: int) -> list[Pixels]:
    """Makes `count` variants of `base` (n, n, 4) with its frame, with insides from `sources` (same size, all wrap).

    Of many patches those are kept that are cut in with the least colour step and are as bright as the base, each as
    far from the others as can be.
    """
    size = base.shape[0]
    frame = max(1, size // 16)
    core = max(frame + 1, size * 5 // 32)
    lab = to_oklab(base[..., :3])
    patches = _patches(lab, sources, frame, core, TRIED * count + 1)
    found = [_cut_in(base, lab, patch, frame, core) for patch in patches]
    labs = [to_oklab(tile[..., :3]) for tile, _ in found]
    costs = [cost + _tone(one, lab) for (_, cost), one in zip(found, labs, strict=True)]
    chosen: list[int] = []
    near = [float(np.linalg.norm(one - lab, axis=-1).mean()) for one in labs]
    for _ in range(min(count, len(found))):
        # a patch that is there already does not count as a variant
        best = max((i for i in range(len(found)) if i not in chosen), key=lambda i: min(near[i], 0.06) - costs[i])
        chosen.append(best)
        near = [
            min(d, float(np.linalg.norm(one - labs[best], axis=-1).mean())) for d, one in zip(near, labs, strict=True)
        ]
    return [found[i][0] for i in chosen]


def _tone(tile: Lab, base: Lab) -> float:
    """Returns how far a tile's mean colour is from the base's, as a whole and at the worst place."""
    blurred = ndimage.gaussian_filter(tile - base, (base.shape[0] / 8,) * 2 + (0,), mode="wrap")
    return float(np.linalg.norm((tile - base).mean(axis=(0, 1))) + np.linalg.norm(blurred, axis=-1).max())


def _patches(base: Lab, sources: Sequence[Pixels], frame: int, core: int, count: int) -> list[Pixels]:
    """Finds in every source the shifts that lie closest to the base around their core."""
    size = base.shape[0]
    band = np.ones((size, size), np.bool_)
    band[core:-core, core:-core] = False
    band[:frame], band[-frame:], band[:, :frame], band[:, -frame:] = False, False, False, False
    step = max(1, size // SHIFTS)
    best: list[tuple[float, int, int, int]] = []
    for which, source in enumerate(sources):
        lab = to_oklab(source[..., :3])
        ranked: list[tuple[float, int, int, int]] = []
        for dy in range(0, size, step):
            for dx in range(0, size, step):
                off = np.linalg.norm(np.roll(lab, (dy, dx), (0, 1)) - base, axis=-1)
                if off[core:-core, core:-core].mean() > 0.004:  # else it is the base itself
                    ranked.append((float(np.sort(off[band])[: band.sum() // 2].mean()), which, dy, dx))
        best += sorted(ranked)[: -(-count // len(sources))]
    return [np.roll(sources[which], (dy, dx), (0, 1)) for _, which, dy, dx in best]


def _cut_in(base: Pixels, lab: Lab, patch: Pixels, frame: int, core: int) -> tuple[Pixels, float]:
    """Returns the base with the patch's core, and the mean colour step along the cut between them."""
    size = base.shape[0]
    off = np.linalg.norm(to_oklab(patch[..., :3]) - lab, axis=-1)
    index = np.arange(size * size).reshape(size, size)
    source, sink = size * size, size * size + 1
    inside = np.zeros((size, size), np.bool_)
    inside[core:-core, core:-core] = True
    rim = np.ones((size, size), np.bool_)
    rim[frame:-frame, frame:-frame] = False
    rows: list[NDArray] = []
    columns: list[NDArray] = []
    costs: list[NDArray] = []
    for a, b in ((np.s_[:-1], np.s_[1:]), (np.s_[:, :-1], np.s_[:, 1:])):
        cost = np.rint((off[a] + off[b]).ravel() * _FINE) + 1
        rows += [index[a].ravel(), index[b].ravel()]
        columns += [index[b].ravel(), index[a].ravel()]
        costs += [cost, cost]
    endless = 2**24
    rows += [np.full(inside.sum(), source), index[rim]]
    columns += [index[inside], np.full(rim.sum(), sink)]
    costs += [np.full(inside.sum(), endless), np.full(rim.sum(), endless)]
    capacity = csr_array(
        (np.concatenate(costs).astype(np.int32), (np.concatenate(rows), np.concatenate(columns))),
        shape=(size * size + 2,) * 2,
    )
    flow = maximum_flow(capacity, source, sink)
    residual = capacity - flow.flow
    residual.eliminate_zeros()
    reached = breadth_first_order(residual, source, return_predecessors=False)
    taken = np.zeros(size * size + 2, np.bool_)
    taken[reached] = True
    mask = taken[: size * size].reshape(size, size)
    length = sum(int((mask[a] != mask[b]).sum()) for a, b in ((np.s_[:-1], np.s_[1:]), (np.s_[:, :-1], np.s_[:, 1:])))
    return np.where(mask[..., None], patch, base), flow.flow_value / _FINE / max(length, 1) / 2
