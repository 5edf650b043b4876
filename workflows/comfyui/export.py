"""Write a sprite's recipe as a ComfyUI API workflow.

What both programs have is carried over: checkpoint, LoRAs with their weights, sampler, steps, guidance and where it
ends, seed, canvas, SDXL's size conditioning, VAE, and the nearest-neighbour downscale to the sprite's size. What
ComfyUI has no core node for is named.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

from pipelines.errors import InvalidRequest
from pipelines.models.catalog import SDXL, SDXL_BASE, SDXL_VAE, STYLE, TINY_VAE, Model
from pipelines.models.hub import cached_file
from pipelines.models.presets import PRESETS, SDXL_PRESETS, Preset
from pipelines.records import Recipe
from pipelines.sprites.draw import plan_pass
from pipelines.sprites.framing import framed_prompt
from workflows.comfyui.nodes import check_nodes

CHECKPOINT = "sd_xl_base_1.0.safetensors"
"""The single file of SDXL base 1.0, as its publisher names it."""
VAE = "sdxl-vae-fp16-fix.safetensors"
FAST_LORAS = {"fast": "Hyper-SDXL-8steps-CFG-lora.safetensors", "draft": "lcm-lora-sdxl.safetensors"}
"""Preset -> the name that its LoRA has in ComfyUI."""
SAMPLING = {
    "quality": ("euler", "normal"),
    "fast": ("ddim", "sgm_uniform"),
    "draft": ("lcm", "sgm_uniform"),
}
"""Preset -> (sampler, scheduler) of ComfyUI that take its steps. Trailing spacing is sgm_uniform there."""


@dataclass(frozen=True, slots=True)
class ModelFile:
    """A file that a workflow names: `folder` in ComfyUI's models/, its name there, where it is here, where it is from.

    `source` is None where this machine has no such file.
    """

    folder: str
    name: str
    source: Path | None
    origin: str


@dataclass(frozen=True, slots=True)
class Exported:
    """An API workflow, the files that it names, and a sentence for each thing that it does not carry."""

    workflow: dict[str, Any]
    files: tuple[ModelFile, ...]
    left_out: tuple[str, ...]


def export_recipe(recipe: Recipe, find_lora: Callable[[str], Path], checkpoint: str = "") -> Exported:
    """Returns the workflow that draws a sprite's recipe.

    Args:
        recipe: of a sprite; an embedded model's recipe needs `checkpoint`.
        find_lora: the file of a LoRA's name.
        checkpoint: the file in ComfyUI's models/checkpoints to draw with; empty: the recipe's own.

    Raises:
        InvalidRequest: an asset of another kind, or a model that ComfyUI cannot load.
        AdapterError: a LoRA that is not here any more.
    """
    if recipe.kind != "sprite":
        raise InvalidRequest(
            f"A {recipe.kind} is put together from several drawings, so it is not one ComfyUI workflow. Export a "
            "sprite, or start from a template: dgx-pixels export sheet, tile or batch."
        )
    own = recipe.preset in SDXL_PRESETS
    preset = PRESETS[recipe.preset if own else "quality"]
    files = [_checkpoint(recipe, checkpoint)]
    stack: list[tuple[ModelFile, float]] = []
    if preset.name in FAST_LORAS and preset.repo:
        source = cached_file(preset.repo, preset.lora)
        stack.append((ModelFile("loras", FAST_LORAS[preset.name], source, preset.repo.id), preset.lora_weight))
    if recipe.model == SDXL or not own:
        name = STYLE.files[0]
        stack.append((ModelFile("loras", name, cached_file(STYLE, name), STYLE.id), preset.style_weight))
    if own:
        for lora in recipe.loras:
            path = find_lora(lora.name)
            stack.append((ModelFile("loras", f"dgx-pixels/{path.name}", path, ""), lora.weight))
    if preset.tiny_decoder:
        vae = ModelFile("vae_approx", "taesdxl", None, TINY_VAE.id)
    else:
        vae = ModelFile("vae", VAE, cached_file(SDXL_VAE, SDXL_VAE.files[1]), SDXL_VAE.id)
    files += [file for file, _ in stack] + [vae]
    sdxl = Model(SDXL, "", "", Path(), presets=SDXL_PRESETS)
    canvas = plan_pass(sdxl, recipe.width, recipe.height, preset.name)
    drawing = _Drawing(
        prompt=framed_prompt(recipe),
        negative=recipe.negative,
        canvas=(canvas.width, canvas.height),
        size=(recipe.width, recipe.height),
        preset=preset,
        seed=recipe.seed,
        steps=(own and recipe.steps) or preset.steps,
        guidance=(own and recipe.guidance) or preset.guidance,
    )
    graph = Graph()
    model, clip, decoder = graph.models(
        files[0].name, [(file.name, weight) for file, weight in stack], vae.name, preset
    )
    last = graph.drawn(model, clip, decoder, drawing)
    graph.add("SaveImage", "save", images=last, filename_prefix="dgx-pixels/" + _file_name(recipe.prompt))
    check_nodes(graph.nodes)
    return Exported(graph.nodes, tuple(files), tuple(_left_out(recipe, own)))


@dataclass(frozen=True, slots=True)
class _Drawing:
    """What the sampler draws: `canvas` and `size` are (width, height) in pixels, before and after the downscale."""

    prompt: str
    negative: str
    canvas: tuple[int, int]
    size: tuple[int, int]
    preset: Preset
    seed: int
    steps: int
    guidance: float


class Graph:
    """Builds an API workflow node by node."""

    def __init__(self) -> None:
        self.nodes: dict[str, Any] = {}

    def add(self, class_type: str, title: str, **inputs: Any) -> list[Any]:
        """Adds a node and returns the link to its first output."""
        name = str(len(self.nodes) + 1)
        self.nodes[name] = {"class_type": class_type, "inputs": inputs, "_meta": {"title": title}}
        return [name, 0]

    def models(
        self, checkpoint: str, loras: list[tuple[str, float]], vae: str, preset: Preset
    ) -> tuple[list[Any], list[Any], list[Any]]:
        """Adds checkpoint, LoRAs and VAE; returns the links to model, CLIP and VAE."""
        loaded = self.add("CheckpointLoaderSimple", "checkpoint", ckpt_name=checkpoint)
        model, clip = loaded, [loaded[0], 1]
        for name, weight in loras:
            model = self.add(
                "LoraLoader", PurePath(name).stem, model=model, clip=clip,
                lora_name=name, strength_model=weight, strength_clip=weight,
            )  # fmt: skip
            clip = [model[0], 1]
        if preset.name == "draft":
            model = self.add("ModelSamplingDiscrete", "LCM", model=model, sampling="lcm", zsnr=False)
        return model, clip, self.add("VAELoader", "VAE", vae_name=vae)

    def drawn(self, model: list[Any], clip: list[Any], decoder: list[Any], drawing: _Drawing) -> list[Any]:
        """Adds canvas, prompts, sampler, decoder and downscale; returns the link to the picture.

        An empty negative prompt is all zeros in SDXL's own pipeline. Guidance that ends before the last step needs two
        samplers, the second without it.
        """
        (width, height), steps, guidance = drawing.canvas, drawing.steps, drawing.guidance

        def encode(text: str, title: str) -> list[Any]:
            text = escape(text)
            return self.add(
                "CLIPTextEncodeSDXL", title, clip=clip, width=width, height=height, crop_w=0, crop_h=0,
                target_width=width, target_height=height, text_g=text, text_l=text,
            )  # fmt: skip

        latent = self.add("EmptyLatentImage", "canvas", width=width, height=height, batch_size=1)
        positive, without = encode(drawing.prompt, "prompt"), encode(drawing.negative, "negative prompt")
        if not drawing.negative:
            without = self.add("ConditioningZeroOut", "no negative prompt", conditioning=without)
        sampler, scheduler = SAMPLING[drawing.preset.name]
        shared = {
            "model": model, "steps": steps, "sampler_name": sampler, "scheduler": scheduler,
            "positive": positive, "negative": without,
        }  # fmt: skip
        guided = math.ceil(drawing.preset.guided[1] * steps - 1e-9)
        if guided >= steps or guidance <= 1:
            latent = self.add(
                "KSampler", "sampler", **shared, seed=drawing.seed, cfg=guidance, denoise=1.0, latent_image=latent
            )
        else:
            for first, scale in ((True, guidance), (False, 1.0)):
                latent = self.add(
                    "KSamplerAdvanced", "guided steps" if first else "the rest", **shared,
                    noise_seed=drawing.seed, cfg=scale, latent_image=latent, add_noise="enable" if first else "disable",
                    start_at_step=0 if first else guided, end_at_step=guided if first else 10000,
                    return_with_leftover_noise="enable" if first else "disable",
                )  # fmt: skip
        picture = self.add("VAEDecode", "decode", samples=latent, vae=decoder)
        return self.add(
            "ImageScale", "to the sprite's size", image=picture, upscale_method="nearest-exact",
            width=drawing.size[0], height=drawing.size[1], crop="disabled",
        )  # fmt: skip


def escape(prompt: str) -> str:
    """Returns the prompt with parentheses as ComfyUI writes plain ones: unescaped they change a word's weight."""
    return re.sub(r"[()]", lambda found: "\\" + found[0], prompt.replace("\\", "/"))


def _checkpoint(recipe: Recipe, named: str) -> ModelFile:
    if named:
        return ModelFile("checkpoints", named, None, "")
    if recipe.model == SDXL:
        return ModelFile("checkpoints", CHECKPOINT, None, SDXL_BASE.id)
    if recipe.model.endswith(".safetensors"):
        path = Path(recipe.model)
        return ModelFile("checkpoints", path.name, path if path.is_file() else None, "")
    if recipe.model == "embedded":
        raise InvalidRequest(
            "The embedded model draws through an autoencoder of its own, which ComfyUI cannot load. Name an SDXL "
            f"checkpoint to draw the same prompt with: --checkpoint {CHECKPOINT}"
        )
    raise InvalidRequest(
        f"'{recipe.model}' is a checkpoint in several files; ComfyUI loads one. Name that file as it is in ComfyUI's "
        "models/checkpoints: --checkpoint NAME.safetensors"
    )


def _left_out(recipe: Recipe, own: bool) -> list[str]:
    said = [
        "ComfyUI draws its noise in another way, so the same seed gives another picture of the same prompt.",
        "Background, palette, clean-up and outline are finished here: "
        f"dgx-pixels fix FILE --width {recipe.width} --height {recipe.height}",
    ]
    if not own:
        said.append(f"It was drawn by '{recipe.model}'; steps, guidance and LoRAs are those of the preset quality.")
    if recipe.candidates > 1:
        said.append(f"The best of {recipe.candidates} candidates is chosen here; the workflow draws one.")
    if "sketch" in recipe.options:
        said.append("It was drawn over a sketch; the workflow draws its prompt from nothing.")
    if "edit" in recipe.options:
        said.append("It is an edit of another sprite; the workflow draws its prompt from nothing.")
    return said


def _file_name(prompt: str) -> str:
    return re.sub(r"[^a-z0-9]+", "_", prompt.lower()).strip("_")[:40] or "sprite"
