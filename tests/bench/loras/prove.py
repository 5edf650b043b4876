"""`make eval-lora`: unseen styles are taught from 40 sprites each, and what was learned is measured.

    python -m tests.bench.loras.prove DATA... --out FOLDER [--real FOLDER...] [--picture FILE]

Everything is kept in the folder, so that an ended run can be continued. Fails (exit 1) where a distance does not shrink
with p < 0.01 for every style, where weight 0 is not bit-equal to no LoRA, or where a stack of two is not what it says.
A palette or outline distance in which base is as near as the style's own sprites are has nothing to teach: it is shown
and not judged.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from loras.files import read_json, write_json
from loras.jobs import Jobs, JobSpec
from loras.options import options_for
from pipelines.records import DrawRequest, LoraWeight, Pixels
from tests.bench.loras import distances as far
from tests.bench.loras.lessons import TRAINED, Lesson, lessons
from tests.bench.loras.picture import picture

if TYPE_CHECKING:
    from pipelines.sdxl.diffusion import DiffusersBackend

SAMPLES, BATCH = 200, 8
LEVEL = 0.01
PROMPTS = (
    "red dragon", "blue potion", "green goblin", "gray sword", "white skeleton", "brown wooden chest", "purple slime",
    "gold ring", "orange fire", "blue ice statue", "gray wolf", "red demon", "brown spider", "silver shield",
    "green tree", "yellow scroll", "cyan crystal", "black bat", "brown boots", "red mushroom", "green snake",
    "orange ogre", "white ghost", "blue wizard", "pink flower",
)  # fmt: skip
"""25 prompts x 8 seeds are the 200 samples of a made style. No caption of a training sprite is among them."""
FIRST_SEED = 20_000
"""Of the samples, each of which has a seed of its own: a few seeds for all prompts are a few draws, not 200. Base's KID
to one style was 0.145 to 0.224 from one such set to the next."""
SHOWN = (0, 1, 2, 4, 5, 6, 8, 10, 13, 23)
"""Prompts in the picture."""


@dataclass(frozen=True, slots=True)
class Line:
    """One distance of one style: means over the 200 samples, and p of "the LoRA is not nearer".

    `own` is what the style's own sprites have (nan for KID, which compares sets).
    """

    style: str
    distance: str
    base: float
    lora: float
    own: float
    p: float

    @property
    def judged(self) -> bool:
        """Whether there is anything to learn."""
        return not self.base <= self.own

    @property
    def holds(self) -> bool:
        """Whether it was learned."""
        return self.p < LEVEL or not self.judged


def taught(jobs: Jobs, style: str, dataset: Path, output: Path, steps: int) -> dict[str, Any]:
    """Trains the style's LoRA as a job (or resumes it); returns the job's last state."""
    from pipelines.models.catalog import embedded_model

    job = next((j for j in jobs.list() if j.name == style), None)
    if job is None:
        options = options_for(embedded_model(), steps=steps, sample_every=steps)
        spec = JobSpec(style, str(dataset), "embedded", str(output), options, prompts=PROMPTS[:4])
        job = jobs.start(spec)
    elif job.resumable:
        job = jobs.resume(job.id)
    said = -1
    while job.active:
        job = jobs.wait(job.id, 5)
        if job.done // 25 > said:
            said = job.done // 25
            print(f"{style}: {job.message} loss {job.loss:.4f}, load {os.getloadavg()[0]:.1f}", flush=True)
    if job.status != "done":
        raise SystemExit(f"Training {style} is {job.status}: {job.error or job.message}")
    return read_json(job.folder / "state.json")


def drawn(backend: DiffusersBackend, lesson: Lesson, cached: Path, loras: tuple[LoraWeight, ...]) -> list[Pixels]:
    """SAMPLES (or a few more) of the lesson's prompts with the stack, hard alpha; kept in `cached` batch by batch."""
    each = -(-SAMPLES // len(lesson.prompts))
    wanted = [(prompt, FIRST_SEED + i) for i, prompt in enumerate(p for p in lesson.prompts for _ in range(each))]
    have: list[Pixels] = list(np.load(cached)) if cached.exists() else []
    while len(have) < len(wanted):
        batch = wanted[len(have) : len(have) + BATCH]
        have += draw(backend, batch, loras)
        part = cached.with_suffix(".part.npy")
        np.save(part, np.stack(have))
        part.replace(cached)
    return have


def draw(backend: DiffusersBackend, wanted: Sequence[tuple[str, int]], loras: tuple[LoraWeight, ...]) -> list[Pixels]:
    """One batch of (prompt, seed) at the model's defaults, hard alpha."""
    prompts, seeds = zip(*wanted, strict=True)
    request = DrawRequest("embedded", tuple(prompts), tuple(seeds), 32, 32, loras=loras)
    pictures = [image.copy() for image in backend.draw(request, lambda done, total: None).images]
    for image in pictures:
        image[..., 3] = np.where(image[..., 3] >= 128, 255, 0)
    return pictures


def measured(
    arms: Mapping[str, tuple[Sequence[Pixels], Sequence[Pixels]]], styles: Sequence[Lesson], network: Any
) -> list[Line]:
    """For each style: distances of its arms (base, LoRA) to the reference, and p. Every number is of all samples."""
    from tests.bench.loras.features import features

    lines: list[Line] = []
    for lesson in styles:
        style, reference = lesson.style, lesson.reference
        known = features(network, reference)
        for name, of in (("palette", far.palette_distances), ("outline", far.outline_distances)):
            base, lora, own = (of(images, reference) for images in (*arms[style], reference))
            means = [float(values.mean()) for values in (base, lora, own)]
            lines.append(Line(style, name, means[0], means[1], means[2], far.paired_p(base, lora)))
        seen = [features(network, images) for images in arms[style]]
        base, lora = (far.kid(values, known) for values in seen)
        lines.append(Line(style, "KID", base, lora, float("nan"), far.kid_p(seen[0], seen[1], known)))
    return lines


def ruler(network: Any, styles: Sequence[Lesson]) -> list[str]:
    """Whether KID can see the styles at all: what is taught must be nearer to the reference than what is not in it.

    Of a made style these are the same sprites with and without its rule; of the real one, other artists' sprites.
    """
    from tests.bench.loras.features import features

    lines = []
    for lesson in styles:
        known = features(network, lesson.reference)
        plain, styled = (far.kid(features(network, images), known) for images in (lesson.plain, lesson.pictures))
        lines.append(
            f"{lesson.style}: KID of {TRAINED} sprites not in the style {plain:.3f}, in the style {styled:.3f}"
        )
        if styled >= plain:
            raise SystemExit(f"{lines[-1]}: the feature network is blind to this style, so its KID proves nothing.")
    return lines


def stacking(backend: DiffusersBackend, loras: Sequence[Path]) -> dict[str, bool]:
    """Weight 0 is bit-equal to no LoRA, also after another was on; two stack, and the stack is neither one alone."""
    wanted = [(prompt, 1000) for prompt in PROMPTS[:4]]
    one, two = (str(path) for path in loras[:2])
    base = np.stack(draw(backend, wanted, ()))
    both = np.stack(draw(backend, wanted, (LoraWeight(one, 0.5), LoraWeight(two, 0.5))))
    alone = [np.stack(draw(backend, wanted, (LoraWeight(path, 0.5),))) for path in (one, two)]
    nothing = np.stack(draw(backend, wanted, (LoraWeight(one, 0.0), LoraWeight(two, 0.0))))
    return {
        "weight 0 is bit-equal to base": bool(np.array_equal(base, nothing)),
        "base is bit-equal after a stack was on": bool(np.array_equal(base, np.stack(draw(backend, wanted, ())))),
        "two LoRAs stack": not any(np.array_equal(both, other) for other in (base, *alone)),
    }


def prove(data: Sequence[Path], real: Sequence[Path], out: Path, steps: int, picture_file: Path | None) -> bool:
    """Everything; prints what it finds and returns whether all of it holds."""
    import torch

    from pipelines.embedded.training.data import read_sprites
    from pipelines.sdxl.diffusion import DiffusersBackend
    from tests.bench.embedded.copies import NEAR, copy_distances
    from tests.bench.loras.features import train_features

    out.mkdir(parents=True, exist_ok=True)
    sprites = read_sprites(data)
    styles = lessons(sprites, real, PROMPTS)
    states = {}
    for lesson in styles:
        lesson.write(out / "data" / lesson.style)
        states[lesson.style] = taught(
            Jobs(out / "jobs"), lesson.style, out / "data" / lesson.style, out / "loras", steps
        )
    loras = {lesson.style: out / "loras" / f"{lesson.style}.safetensors" for lesson in styles}

    backend = DiffusersBackend()
    arms = {}
    for lesson in styles:
        # the made styles' prompts are the same
        base = out / (f"base-{lesson.style}.npy" if lesson.real else "base.npy")
        stack = (LoraWeight(str(loras[lesson.style])),)
        arms[lesson.style] = (
            drawn(backend, lesson, base, ()),
            drawn(backend, lesson, out / f"{lesson.style}.npy", stack),
        )
    torch.manual_seed(0)
    trained = [s for s in sprites if not s.held_out]
    network = train_features(trained)
    seen = ruler(network, styles)
    lines = measured(arms, styles, network)
    stacks = stacking(backend, list(loras.values()))

    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    print("\n".join(seen))
    for lesson in styles:
        state = states[lesson.style]
        spent = f"{state['cpu_seconds']:.0f} CPU seconds, {state['seconds']:.0f} s by the clock"
        print(f"{lesson.style}: {state['done']} steps, {spent}; reference: {len(lesson.reference)} other sprites")
        print(f"{lesson.style}: {len(arms[lesson.style][0])} samples an arm of {', '.join(lesson.prompts)}")
        if lesson.real:
            near = copy_distances(lesson.pictures, trained, "cpu", hues=1)
            print(f"{lesson.style}: {(near < NEAR).sum()} of {TRAINED} are near-copies of what the model was taught")
    for line in lines:
        values = f"base {line.base:.4f}  LoRA {line.lora:.4f}  own {line.own:.4f}  p {line.p:.2g}"
        print(f"{line.style:9} {line.distance:8} {values}{'' if line.judged else '  (nothing to learn)'}")
    for name, holds in stacks.items():
        print(f"{name}: {holds}")
    holds = all(line.holds for line in lines) and all(stacks.values())
    write_json(
        out / "result.json",
        {"lines": [asdict(line) for line in lines], "stacks": stacks, "holds": holds, "time": time.time()},
    )
    if picture_file:
        stacks_shown: dict[str, tuple[LoraWeight, ...]] = {"base": ()}
        stacks_shown |= {f"LoRA {style}": (LoraWeight(str(path)),) for style, path in loras.items()}
        stacks_shown["both, 0.5 each"] = tuple(LoraWeight(str(path), 0.5) for path in list(loras.values())[:2])
        wanted = [(PROMPTS[i], 0) for i in SHOWN]
        shown = {name: draw(backend, wanted, stack) for name, stack in stacks_shown.items()}
        # a real artist's sprites are not ours to show
        examples = {f"{s.style}:\n{len(SHOWN)} of {TRAINED}\ntaught": s.pictures[::4] for s in styles if not s.real}
        picture_file.parent.mkdir(parents=True, exist_ok=True)
        picture_file.write_bytes(picture(examples | shown, [PROMPTS[i].split()[-1] for i in SHOWN]))
    print("All of it holds." if holds else "NOT all of it holds.")
    return holds


def main(argv: list[str] | None = None) -> int:
    """Reads the command line and proves."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.loras.prove", description=__doc__)
    parser.add_argument("data", nargs="+", type=Path, help="folders of sprites with metadata.jsonl")
    parser.add_argument("--real", nargs="*", default=[], type=Path, help="more styles: see tests/bench/loras/real.py")
    parser.add_argument("--out", type=Path, default=Path("runs/eval-lora"))
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--picture", type=Path)
    arguments = parser.parse_args(argv)
    out = arguments.out.absolute()  # workers have working directories of their own
    return 0 if prove(arguments.data, arguments.real, out, arguments.steps, arguments.picture) else 1


if __name__ == "__main__":
    sys.exit(main())
