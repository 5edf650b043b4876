"""`make eval-lora`: two unseen styles are taught from 40 sprites each, and what was learned is measured.

    python -m loras.evaluation.prove DATA... --out FOLDER [--picture FILE]

Everything is kept in the folder, so that a run that was ended goes on. Fails (exit 1) where a distance does not shrink
with p < 0.01 for both styles, where weight 0 is not bit-equal to no LoRA, or where a stack of both is not what it says.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from loras.evaluation import distances as far
from loras.evaluation.styles import STYLES
from loras.files import read_json, write_json
from loras.jobs import Jobs, JobSpec
from loras.options import options_for
from loras.preview import encoded, enlarged
from pipelines.records import DrawRequest, LoraWeight, Pixels

if TYPE_CHECKING:
    from pipelines.diffusion import DiffusersBackend
    from pipelines.embedded.data import Sprite

TRAINED, SEEDS, BATCH = 40, 8, 8
LEVEL = 0.01
PROMPTS = (
    "red dragon", "blue potion", "green goblin", "gray sword", "white skeleton", "brown wooden chest", "purple slime",
    "gold ring", "orange fire", "blue ice statue", "gray wolf", "red demon", "brown spider", "silver shield",
    "green tree", "yellow scroll", "cyan crystal", "black bat", "brown boots", "red mushroom", "green snake",
    "orange ogre", "white ghost", "blue wizard", "pink flower",
)  # fmt: skip
"""25 prompts x 8 seeds are the 200 samples. No caption of a training sprite is among them."""


def held_back(data: Sequence[Path]) -> list[Sprite]:
    """Sprites that the embedded model was not trained on: 32 px, with a tenth to nine tenths of clear ground."""
    from pipelines.embedded.data import read_sprites

    def fits(sprite: Sprite) -> bool:
        clear = float((sprite.image[..., 3] == 0).mean())
        return sprite.held_out and sprite.native == 32 and 0.1 <= clear < 0.9

    return [sprite for sprite in read_sprites(data) if fits(sprite)]


def write_folder(folder: Path, sprites: Sequence[Sprite], style: str) -> None:
    """The sprites in the style, as an imagefolder with metadata.jsonl."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = []
    for number, sprite in enumerate(sprites):
        name = f"{number:03d}.png"
        Image.fromarray(STYLES[style](sprite.image)).save(folder / name)
        lines.append(json.dumps({"file_name": name, "text": " ".join(sprite.words.sentence)}))
    (folder / "metadata.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")


def taught(jobs: Jobs, style: str, dataset: Path, output: Path, steps: int) -> dict[str, Any]:
    """Trains the style's LoRA as a job (or goes on with it); returns the job's last state."""
    from pipelines.models import embedded_model

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
            print(f"{style}: {job.message} loss {job.loss:.4f}", flush=True)
    if job.status != "done":
        raise SystemExit(f"Training {style} is {job.status}: {job.error or job.message}")
    return read_json(job.folder / "state.json")


def drawn(backend: DiffusersBackend, cached: Path, loras: tuple[LoraWeight, ...]) -> list[Pixels]:
    """The 200 samples with the stack, hard alpha; kept in `cached`, a batch at a time."""
    wanted = [(prompt, seed) for prompt in PROMPTS for seed in range(SEEDS)]
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
    for picture in pictures:
        picture[..., 3] = np.where(picture[..., 3] >= 128, 255, 0)
    return pictures


def measured(
    arms: Mapping[str, Sequence[Pixels]], styles: Mapping[str, Sequence[Pixels]], network: Any
) -> list[dict[str, Any]]:
    """For each style: distances of base and LoRA to the reference, and p. Every number is of all 200 samples."""
    from loras.evaluation.features import features

    lines: list[tuple[Any, ...]] = []
    seen = {name: features(network, images) for name, images in arms.items()}
    for style, reference in styles.items():
        known = features(network, reference)
        for name, of in (("palette", far.palette_distances), ("outline", far.outline_distances)):
            base, lora = of(arms["base"], reference), of(arms[style], reference)
            lines.append((style, name, base.mean(), lora.mean(), far.paired_p(base, lora)))
        base, lora = far.kid(seen["base"], known), far.kid(seen[style], known)
        lines.append((style, "KID", base, lora, far.kid_p(seen["base"], seen[style], known)))
    names = ("style", "distance", "base", "lora", "p")
    return [dict(zip(names, (*line[:2], *map(float, line[2:])), strict=True)) for line in lines]


def ruler(network: Any, taken: Mapping[str, Sequence[Sprite]], styles: Mapping[str, Sequence[Pixels]]) -> list[str]:
    """Whether KID can see the styles at all: sprites must come nearer when the rule itself puts them into the style."""
    from loras.evaluation.features import features

    lines = []
    for style, reference in styles.items():
        known = features(network, reference)
        plain = far.kid(features(network, [s.image for s in taken[style]]), known)
        styled = far.kid(features(network, [STYLES[style](s.image) for s in taken[style]]), known)
        lines.append(f"{style}: KID of {TRAINED} sprites {plain:.3f}, put into the style by its rule {styled:.3f}")
        if styled >= plain:
            raise SystemExit(f"{lines[-1]}: the feature network is blind to this style, so its KID proves nothing.")
    return lines


def stacking(backend: DiffusersBackend, loras: Mapping[str, Path]) -> dict[str, bool]:
    """Weight 0 is bit-equal to no LoRA, also after another was on; two stack, and the stack is neither one alone."""
    wanted = [(prompt, 1000) for prompt in PROMPTS[:4]]
    one, two = (str(path) for path in loras.values())
    base = np.stack(draw(backend, wanted, ()))
    both = np.stack(draw(backend, wanted, (LoraWeight(one, 0.5), LoraWeight(two, 0.5))))
    alone = [np.stack(draw(backend, wanted, (LoraWeight(path, 0.5),))) for path in (one, two)]
    nothing = np.stack(draw(backend, wanted, (LoraWeight(one, 0.0), LoraWeight(two, 0.0))))
    return {
        "weight 0 is bit-equal to base": bool(np.array_equal(base, nothing)),
        "base is bit-equal after a stack was on": bool(np.array_equal(base, np.stack(draw(backend, wanted, ())))),
        "two LoRAs stack": not any(np.array_equal(both, other) for other in (base, *alone)),
    }


def picture(
    arms: Mapping[str, Sequence[Pixels]], trained: Mapping[str, Sequence[Pixels]], stack: Sequence[Pixels]
) -> bytes:
    """Training sprites of each style above what base, each LoRA and both draw for the same words and seeds."""
    from PIL import ImageDraw, ImageFont

    columns, cell, gap, side = 10, 64, 4, 128
    shown = [i * SEEDS for i in (0, 1, 2, 4, 5, 6, 8, 10, 13, 23)]
    rows: list[tuple[str, Sequence[Pixels]]] = []
    for style, pictures in trained.items():
        rows.append((f"{style}:\n{columns} of {TRAINED}\ntaught", pictures[:columns]))
    rows.append(("base", [arms["base"][i] for i in shown]))
    rows += [(f"LoRA {style}", [arms[style][i] for i in shown]) for style in trained]
    rows.append(("both, 0.5 each", stack))
    font = ImageFont.load_default(12)
    image = Image.new("RGB", (side + columns * (cell + gap), len(rows) * (cell + gap) + gap + 18), (238, 238, 234))
    ink = ImageDraw.Draw(image)
    for r, (label, pictures) in enumerate(rows):
        top = gap + r * (cell + gap)
        ink.multiline_text((8, top + 6), label, fill=(40, 40, 46), font=font)
        for c, sprite in enumerate(pictures):
            tile = enlarged(sprite, cell)
            left = side + c * (cell + gap)
            ink.rectangle((left, top, left + cell - 1, top + cell - 1), fill=(214, 214, 210))
            image.paste(tile, (left, top), tile)
    for c, i in enumerate(shown):
        words = PROMPTS[i // SEEDS].split()[-1]
        ink.text((side + c * (cell + gap), len(rows) * (cell + gap) + 4), words, fill=(40, 40, 46), font=font)
    return encoded(image)


def prove(data: Sequence[Path], out: Path, steps: int, picture_file: Path | None) -> bool:
    """Everything; prints what it finds and returns whether all of it holds."""
    import torch

    from loras.evaluation.features import train_features
    from pipelines.diffusion import DiffusersBackend
    from pipelines.embedded.data import read_sprites

    out.mkdir(parents=True, exist_ok=True)
    sprites = held_back(data)
    if len(sprites) < 2 * TRAINED + 20:
        raise SystemExit(f"{len(sprites)} held-back sprites are too few; {2 * TRAINED + 20} are needed.")
    taken = {style: sprites[i * TRAINED : (i + 1) * TRAINED] for i, style in enumerate(STYLES)}
    others = {style: [s for s in sprites if s not in taken[style]] for style in STYLES}
    states = {}
    for style in STYLES:
        if not (out / "data" / style / "metadata.jsonl").exists():
            write_folder(out / "data" / style, taken[style], style)
        states[style] = taught(Jobs(out / "jobs"), style, out / "data" / style, out / "loras", steps)
    loras = {style: out / "loras" / f"{style}.safetensors" for style in STYLES}

    backend = DiffusersBackend()
    arms = {"base": drawn(backend, out / "base.npy", ())}
    for style, path in loras.items():
        arms[style] = drawn(backend, out / f"{style}.npy", (LoraWeight(str(path)),))
    torch.manual_seed(0)
    network = train_features([s for s in read_sprites(data) if not s.held_out])
    references = {style: [STYLES[style](s.image) for s in others[style]] for style in STYLES}
    seen = ruler(network, taken, references)
    lines = measured(arms, references, network)
    stacks = stacking(backend, loras)

    print(f"{len(PROMPTS) * SEEDS} samples an arm; reference: {len(references['handheld'])} other sprites in the style")
    print("\n".join(seen))
    for style, state in states.items():
        spent = f"{state['cpu_seconds']:.0f} CPU seconds, {state['seconds']:.0f} s by the clock"
        print(f"{style}: {state['done']} steps, {spent}")
    for line in lines:
        values = f"base {line['base']:.4f}  LoRA {line['lora']:.4f}  p {line['p']:.2g}"
        print(f"{line['style']:9} {line['distance']:8} {values}")
    for name, holds in stacks.items():
        print(f"{name}: {holds}")
    holds = all(line["p"] < LEVEL for line in lines) and all(stacks.values())
    write_json(out / "result.json", {"lines": lines, "stacks": stacks, "holds": holds, "time": time.time()})
    if picture_file:
        both = tuple(LoraWeight(str(path), 0.5) for path in loras.values())
        wanted = [(PROMPTS[i], 0) for i in (0, 1, 2, 4, 5, 6, 8, 10, 13, 23)]
        trained = {style: [STYLES[style](s.image) for s in taken[style][::4]] for style in STYLES}
        picture_file.parent.mkdir(parents=True, exist_ok=True)
        picture_file.write_bytes(picture(arms, trained, draw(backend, wanted, both)))
    print("All of it holds." if holds else "NOT all of it holds.")
    return holds


def main(argv: list[str] | None = None) -> int:
    """Reads the command line and proves."""
    parser = argparse.ArgumentParser(prog="python -m loras.evaluation.prove", description=__doc__)
    parser.add_argument("data", nargs="+", type=Path, help="folders of sprites with metadata.jsonl")
    parser.add_argument("--out", type=Path, default=Path("runs/eval-lora"))
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--picture", type=Path)
    arguments = parser.parse_args(argv)
    return 0 if prove(arguments.data, arguments.out, arguments.steps, arguments.picture) else 1


if __name__ == "__main__":
    sys.exit(main())
