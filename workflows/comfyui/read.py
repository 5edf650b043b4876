"""Read a ComfyUI API workflow as a recipe: prompt, seed, steps, guidance, LoRAs, size. What is not carried is named.

A workflow is somebody else's file: any value may be missing, of another type, out of range, or linked in a circle.
Nothing in it is run, and no path in it is opened.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

from pipelines.errors import InvalidRequest, TextError
from pipelines.models.catalog import SDXL
from pipelines.models.presets import PRESETS
from pipelines.records import LoraWeight, Recipe
from pipelines.sprites.framing import FRAMINGS
from pipelines.text_files import parse_json
from pipelines.visible import clipped, visible
from workflows.comfyui.export import CHECKPOINT, FAST_LORAS, SAMPLING
from workflows.comfyui.nodes import NODES, link_of

MOST_NODES = 5000
LONGEST_PROMPT = 2000
LARGEST, SMALLEST = 640, 8
CANVAS_PIXELS = 8
"""Canvas pixels of a sprite's pixel where the workflow does not scale down: what pixel-art-xl draws."""
_EMPHASIS = re.compile(r"(?<!\\)[()]|:\s*[\d.]+\s*(?=\))")
_STYLED = tuple(
    (background, re.compile(re.escape(form).replace(re.escape("{}"), "(.+)"))) for background, form in FRAMINGS.values()
)
"""(background, what `framed_prompt` makes of a prompt); taken off again, since drawing adds it."""


@dataclass(frozen=True, slots=True)
class Imported:
    """A sprite's recipe, the checkpoint that the workflow names, and a sentence for each thing that is left out."""

    recipe: Recipe
    checkpoint: str
    left_out: tuple[str, ...]


@dataclass(slots=True)
class _Reading:
    """A workflow that is being read."""

    nodes: Mapping[str, Any]
    left_out: list[str] = field(default_factory=list)

    def kind(self, name: str) -> str:
        return self.nodes[name]["class_type"]

    def value(self, name: str, key: str) -> Any:
        """Returns an input's value; of a link to a primitive node, that node's value. None where there is none."""
        given = self.nodes[name]["inputs"].get(key)
        if (link := link_of(given)) is None:
            return given
        if link[0] in self.nodes and self.kind(link[0]).startswith("Primitive"):
            held = self.nodes[link[0]]["inputs"].get("value")
            return None if link_of(held) else held
        return None

    def source(self, name: str, key: str) -> str | None:
        """Returns the node that an input is linked to."""
        link = link_of(self.nodes[name]["inputs"].get(key))
        return link[0] if link and link[0] in self.nodes else None

    def chain(self, name: str | None, *keys: str) -> Iterator[str]:
        """Yields the nodes from `name` upwards, each through the first of `keys` that is linked; a circle ends it."""
        seen: set[str] = set()
        while name is not None and name not in seen:
            seen.add(name)
            yield name
            name = next((found for key in keys if (found := self.source(name, key))), None)

    def number(self, name: str, key: str, least: float, most: float) -> float | None:
        """Returns a finite number in a range, else None."""
        found = self.value(name, key)
        if isinstance(found, bool) or not isinstance(found, int | float) or not math.isfinite(found):
            return None
        return found if least <= found <= most else None


def read_workflow(
    text: str,
    name: str,
    loras: Collection[str] = (),
    find_checkpoint: Callable[[str], str] = lambda checkpoint: "",
) -> Imported:
    """Returns the recipe of an API workflow.

    Args:
        text: the file's JSON.
        name: what errors call it.
        loras: the names of the LoRAs that are here; others are left out.
        find_checkpoint: the model of a checkpoint's name, empty where there is none; SDXL base is known.

    Raises:
        InvalidRequest: not an API workflow, or one without a sampler or a prompt.
    """
    reading = _Reading(_nodes(text, name))
    samplers = {node for node in reading.nodes if _samples(reading, node)}
    if not samplers:
        raise InvalidRequest(f"{name} has no node that samples a prompt (KSampler), so there is nothing to draw.")
    picture, scaled = _picture(reading, samplers)
    first = picture
    for node in reading.chain(picture, "latent_image"):
        if node in samplers:
            first = node
    if unused := samplers - set(reading.chain(picture, "latent_image")):
        reading.left_out.append(f"{len(unused)} more sampler(s): one picture becomes one sprite.")
    prompt, background = _styled(_prompt(reading, first, "positive"))
    if not prompt:
        raise InvalidRequest(f"No prompt can be read from {name}: its text comes from a node that is not known here.")
    negative = _prompt(reading, first, "negative")
    checkpoint, stack = _model(reading, first)
    model = SDXL if PurePosixPath(checkpoint).name == CHECKPOINT else find_checkpoint(checkpoint)
    if checkpoint and not model:
        reading.left_out.append(f"The checkpoint '{_shown(checkpoint)}': it is not on this machine.")
    preset, kept = _preset(reading, stack, model, loras)
    width, height = _size(reading, first, scaled)
    steps, guidance = _sampling(reading, first, preset)
    options = {"ground": background} if background else {}
    recipe = Recipe(
        "sprite", prompt, width, height, _seed(reading, first),
        negative=negative, model=model or SDXL, loras=tuple(kept), preset=preset,
        steps=steps, guidance=guidance, options=options,
    )  # fmt: skip
    unknown = sorted({reading.kind(node) for node in reading.nodes} - NODES.keys())
    if unknown := [kind for kind in unknown if not kind.startswith("Primitive")]:
        more = f" and {len(unknown) - 10} more" if len(unknown) > 10 else ""
        reading.left_out.append(f"Nodes: {', '.join(map(_shown, unknown[:10]))}{more}.")
    return Imported(recipe, _shown(checkpoint), tuple(dict.fromkeys(reading.left_out)))


def _nodes(text: str, name: str) -> dict[str, Any]:
    try:
        data = parse_json(text, name)
    except TextError:
        raise
    except ValueError as error:  # an integer of thousands of digits
        raise InvalidRequest(f"{name} holds a number that is too long. Export the workflow again.") from error
    if isinstance(data, dict) and isinstance(data.get("prompt"), dict):
        data = data["prompt"]
    if isinstance(data, dict) and isinstance(data.get("nodes"), list):
        raise InvalidRequest(
            f"{name} is a workflow for ComfyUI's editor. In ComfyUI choose Workflow > Export (API) and give that file."
        )
    if not isinstance(data, dict) or not data:
        raise InvalidRequest(f"{name} is not a ComfyUI API workflow. In ComfyUI choose Workflow > Export (API).")
    if len(data) > MOST_NODES:
        raise InvalidRequest(f"{name} has {len(data):,} nodes; {MOST_NODES:,} are the most. Export one picture's part.")
    for key, node in data.items():
        if (
            not isinstance(node, dict)
            or not isinstance(node.get("class_type"), str)
            or not isinstance(node.get("inputs"), dict)
        ):
            raise InvalidRequest(
                f"{name} is not a ComfyUI API workflow: '{_shown(key)}' has no class_type and inputs. In ComfyUI "
                "choose Workflow > Export (API)."
            )
    return data


def _samples(reading: _Reading, node: str) -> bool:
    inputs = reading.nodes[node]["inputs"]
    return {"model", "positive", "latent_image"} <= inputs.keys() and bool({"seed", "noise_seed"} & inputs.keys())


def _picture(reading: _Reading, samplers: Collection[str]) -> tuple[str, list[tuple[int, int]]]:
    """Returns the sampler that the first saved picture comes from, and the sizes to which that picture is scaled."""
    ends = [node for node in reading.nodes if reading.kind(node) in ("SaveImage", "PreviewImage")]
    if len(ends) > 1:
        reading.left_out.append(f"{len(ends) - 1} more saved picture(s): the first becomes the sprite.")
    for end in ends:
        sizes: list[tuple[int, int]] = []
        for node in reading.chain(end, "images", "image", "image1", "samples", "pixels", "latent"):
            if node in samplers:
                return node, sizes
            if reading.kind(node) == "ImageStitch":
                reading.left_out.append("The sheet: its first picture becomes the sprite.")
            width = reading.number(node, "width", SMALLEST, LARGEST)
            height = reading.number(node, "height", SMALLEST, LARGEST)
            if reading.kind(node) == "ImageScale" and width and height:
                sizes.append((int(width), int(height)))
    return next(node for node in reading.nodes if node in samplers), []


def _prompt(reading: _Reading, sampler: str, key: str) -> str:
    for node in reading.chain(reading.source(sampler, key), "conditioning", key, "conditioning_1", "conditioning_to"):
        if reading.kind(node) == "ConditioningZeroOut":
            return ""
        text = reading.value(node, "text")
        if not isinstance(text, str):
            text, second = reading.value(node, "text_g"), reading.value(node, "text_l")
            if isinstance(text, str) and isinstance(second, str) and second.strip() != text.strip():
                reading.left_out.append("The second text (text_l): one prompt goes to both encoders.")
        if isinstance(text, str):
            return _plain(reading, text)
    return ""


def _plain(reading: _Reading, text: str) -> str:
    """Returns the text on one line, without ComfyUI's emphasis, embeddings and escapes."""
    text = visible(" ".join(text.split()))
    if re.search(r"\bembedding:", text):
        reading.left_out.append("Embeddings: their names stay out of the prompt.")
        text = re.sub(r"\bembedding:[^\s,]*", "", text)
    if _EMPHASIS.search(text):
        reading.left_out.append("Weights of words, as in (word:1.2): the words stay.")
        text = _EMPHASIS.sub("", text)
    text = " ".join(text.replace("\\(", "(").replace("\\)", ")").split()).strip(" ,")
    if len(text) > LONGEST_PROMPT:
        reading.left_out.append(f"The prompt after {LONGEST_PROMPT:,} characters.")
        text = text[:LONGEST_PROMPT].rstrip()
    return text


def _styled(prompt: str) -> tuple[str, str]:
    """Returns (prompt, background) of a prompt that an export wrote; (prompt, "") of any other."""
    for background, form in _STYLED:
        if found := form.fullmatch(prompt):
            return found[1], background
    return prompt, ""


def _model(reading: _Reading, sampler: str) -> tuple[str, list[tuple[str, float]]]:
    """Returns the checkpoint's name, and (name, weight) of each LoRA from the checkpoint on."""
    stack: list[tuple[str, float]] = []
    checkpoint = ""
    for node in reading.chain(reading.source(sampler, "model"), "model"):
        lora = reading.value(node, "lora_name")
        if isinstance(lora, str):
            weight = reading.number(node, "strength_model", -10, 10)
            if weight is None:
                reading.left_out.append(f"The weight of the LoRA '{_shown(lora)}': 1 is taken.")
            if reading.value(node, "strength_clip") not in (None, reading.value(node, "strength_model")):
                reading.left_out.append(f"The LoRA '{_shown(lora)}' has another weight for the text encoders.")
            stack.insert(0, (lora.replace("\\", "/"), 1.0 if weight is None else float(weight)))
        named = reading.value(node, "ckpt_name")
        if isinstance(named, str):
            checkpoint = named.replace("\\", "/")
    if not checkpoint:
        reading.left_out.append("The model: it is not loaded as one checkpoint.")
    return checkpoint, stack


def _preset(
    reading: _Reading, stack: list[tuple[str, float]], model: str, loras: Collection[str]
) -> tuple[str, list[LoraWeight]]:
    """Returns the preset whose LoRA is in the stack, and the LoRAs that remain."""
    preset, kept = "quality", []
    fast = {PurePosixPath(name).stem.lower(): preset for preset, name in FAST_LORAS.items()}
    for name, weight in stack:
        stem = PurePosixPath(name).stem
        if stem.lower() in fast:
            preset = fast[stem.lower()]
        elif stem.lower() == "pixel-art-xl" and model == SDXL:
            continue  # part of the model here
        elif stem in loras:
            kept.append(LoraWeight(stem, weight))
        else:
            reading.left_out.append(
                f"The LoRA '{_shown(name)}' (weight {weight:g}): it is not in the LoRA folder here."
            )
    return preset, kept


def _size(reading: _Reading, sampler: str, scaled: list[tuple[int, int]]) -> tuple[int, int]:
    if scaled:
        return min(scaled, key=lambda size: size[0] * size[1])
    latent = list(reading.chain(sampler, "latent_image", "samples"))[-1]
    sides = [reading.number(latent, key, 16, 16384) for key in ("width", "height")]
    if sides[0] is None or sides[1] is None:
        reading.left_out.append("The size: it does not come from an empty latent. 32x32 is taken.")
        return 32, 32
    size = tuple(min(LARGEST, max(SMALLEST, round(side / CANVAS_PIXELS))) for side in sides if side)
    reading.left_out.append(
        f"The workflow does not scale down to a sprite's size: {size[0]}x{size[1]} is an eighth of its canvas."
    )
    return size[0], size[1]


def _seed(reading: _Reading, sampler: str) -> int:
    key = "seed" if "seed" in reading.nodes[sampler]["inputs"] else "noise_seed"
    seed = reading.value(sampler, key)
    if type(seed) is not int or not 0 <= seed < 2**64:
        reading.left_out.append("The seed: 0 is taken.")
        return 0
    if seed >= 2**63:
        reading.left_out.append("The seed's highest bit: seeds end at 2^63 - 1 here.")
    return seed % 2**63


def _sampling(reading: _Reading, sampler: str, preset: str) -> tuple[int, float]:
    """Reads steps and guidance, 0 where the preset's own are to be taken."""
    low, high = PRESETS[preset].guidance_range
    steps, guidance = reading.number(sampler, "steps", 1, 200), reading.number(sampler, "cfg", low, high)
    if steps is None or steps != int(steps):
        reading.left_out.append(f"The steps: {PRESETS[preset].steps} are taken (1 to 200 can be).")
        steps = 0
    if guidance is None:
        reading.left_out.append(f"The guidance: {PRESETS[preset].guidance:g} is taken ({low:g} to {high:g} can be).")
    names = tuple(reading.value(sampler, key) for key in ("sampler_name", "scheduler"))
    if names != SAMPLING[preset]:
        reading.left_out.append(
            f"Sampler and scheduler {' / '.join(map(_shown, names))}: the preset {preset} has its own."
        )
    if reading.number(sampler, "denoise", 0, 0.999999) is not None:
        reading.left_out.append("The picture to begin with: the sprite is drawn from noise.")
    latent = list(reading.chain(sampler, "latent_image", "samples"))[-1]
    if (reading.number(latent, "batch_size", 2, 4096)) is not None:
        reading.left_out.append("The batch: one sprite is drawn; give count for more.")
    return int(steps), float(guidance or 0.0)


def _shown(value: object) -> str:
    return clipped(visible(str(value)), 80)
