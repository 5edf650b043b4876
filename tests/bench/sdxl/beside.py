"""The bench's arm of what goes beside the UNet: reference pictures (IP-Adapter) and a sketch's lines (ControlNet).

Both networks are random and, on a GPU, as large as the published ones; the backend loads them from files as it always
does.
"""

from __future__ import annotations

import itertools
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from pipelines.records import DrawRequest, Pixels
from tests.bench.measure import Row, measure, synchronize
from tests.bench.sdxl.rig import PROMPT, Rig
from tests.random_extras import EXTRAS, write_controlnet, write_ip_adapter

CANCELLED = 5
"""The step after which the drawing that is cancelled ends."""


_SEEDS = itertools.count()


class _Cancelled(Exception):
    pass


Shown = tuple[str, int, int, bool]
"""(name, batch, references, lines) of a row."""


def beside(rig: Rig) -> None:
    """Rows for pictures with references, with lines and with both; a cancel; float8, a batch and both together."""
    plan, side, low = rig.plan, rig.plan.sides[0], rig.low
    time_row(rig, "ours", ("1 reference, lines", 1, 1, True))
    cancel(rig, request(rig, 1, side, 1, True))
    unchanged(rig)
    low.adapter, low.network = rig.adapter, rig.network
    together: Shown = (f"1 reference, lines, batch {plan.batch}", plan.batch, 1, True)
    time_row(low, "float8", together, graphs=rig.left > 200)
    for row in (("4 references", 1, 4, False), ("lines", 1, 0, True)):
        time_row(rig, "ours", row)


def write_extras(rig: Rig, folder: Path) -> None:
    """Writes both networks; the rig's backend loads them when they are first asked for."""
    began, unet = time.perf_counter(), rig.resident.unet
    size = EXTRAS["full" if rig.plan.size.canvas >= 1024 else "tiny"]
    rig.adapter = write_ip_adapter(unet, folder / "adapter", size=size)
    rig.network = write_controlnet(unet, folder / "lines", size=size)
    rig.results.note("random IP-Adapter and ControlNet written, seconds", round(time.perf_counter() - began, 1))


def time_row(rig: Rig, label: str, row: Shown, graphs: bool = True) -> None:
    """A row for such pictures. Without `graphs` it is the first drawing, as a user gets it, and no other follows."""
    name, batch, references, lines = row
    steps, side = rig.plan.steps, rig.plan.sides[0]

    def call(some: int = steps) -> Any:
        return draw(rig, request(rig, batch, side, references, lines, some))  # references are new, and encoded

    began = time.perf_counter()
    call(2)
    first = time.perf_counter() - began
    if graphs:
        rig.warm()
    graph = time.perf_counter() - began - first
    runs = rig.plan.runs if batch == 1 else 2
    seconds, made, peak = measure(call, rig.device, runs if graphs else 1, int(graphs), 4.0)
    state = rig.fast.state()["step"]
    note = f"networks and two steps {first:.0f} s, graph {graph:.0f} s; compile {state['compile']}"
    note += f", error {state['compile_error']:.4f}, {state['halved_graphs']} halved"
    note += f" FAILED: {state['failed'][0]}" if state["failed"] else ""
    drawn = "" if graphs else ", first drawing, without graphs"
    rig.results.add(Row(f"{label}: {steps} steps, {name}{drawn}", seconds, made, steps, batch, peak_gb=peak, note=note))


def request(
    rig: Rig, batch: int, side: int, references: int, lines: bool, steps: int | None = None, guidance: float = 7.5
) -> DrawRequest:
    """One drawing with so many pictures as references that no drawing had before, held to a sketch's lines or not."""
    rig.resident.model = replace(rig.resident.model, guided=(0.0, 1.0))
    return DrawRequest(
        model=rig.resident.model.id,
        prompts=(PROMPT,) * batch,
        seeds=tuple(range(batch)),
        width=side,
        height=side,
        steps=steps or rig.plan.steps,
        guidance=guidance,
        init=(_sketch(side),) * batch if lines else (),
        strength=1.0,
        lines=lines,
        references=tuple(_noise(next(_SEEDS)) for _ in range(references)),
    )


def draw(rig: Rig, wanted: DrawRequest, on_step: Any = lambda done, total: None) -> Any:
    """Draws by the backend, guided at every step."""
    return rig.backend.draw(wanted, on_step)


def cancel(rig: Rig, wanted: DrawRequest) -> None:
    """Notes the steps that were counted before a cancel, and the time until the device is idle after it."""
    raised = 0.0

    def on_step(done: int, total: int) -> None:
        nonlocal raised
        if done in (CANCELLED, total):
            raised = time.perf_counter()
            raise _Cancelled(done)

    synchronize(rig.device)
    began = time.perf_counter()
    try:
        draw(rig, wanted, on_step)
    except _Cancelled as error:
        returned = time.perf_counter()
        synchronize(rig.device)
        idle = time.perf_counter()
        rig.results.note(
            f"cancelled at step {error}, ms until then, until the call ended, until the device was idle",
            [round(1000 * seconds, 1) for seconds in (raised - began, returned - raised, idle - raised)],
        )


def unchanged(rig: Rig) -> None:
    """Notes whether a drawing without references and lines is the same, with the networks loaded."""
    side, few = rig.plan.sides[0], rig.plan.few
    plain = [draw(rig, request(rig, 1, side, 0, False, few)).images[0] for _ in range(2)]
    styled = draw(rig, request(rig, 1, side, 1, False, few)).images[0]
    after = draw(rig, request(rig, 1, side, 0, False, few)).images[0]
    rig.results.note("a reference changes the picture", bool((styled != plain[0]).any()))
    rig.results.note(
        "two plain drawings, and one after a reference, are equal",
        [
            bool((plain[0] == plain[1]).all()),
            bool((plain[0] == after).all()),
        ],
    )


def _sketch(side: int) -> Pixels:
    image = np.full((side, side, 4), 255, np.uint8)
    image[side // 4 : 3 * side // 4, side // 3 : 2 * side // 3, :3] = (200, 30, 30)
    return image


def _noise(seed: int) -> Pixels:
    image = np.random.default_rng(seed).integers(0, 255, (224, 224, 4), np.uint8)
    image[..., 3] = 255
    return image
