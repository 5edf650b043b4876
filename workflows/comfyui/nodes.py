"""Facts about the ComfyUI nodes that our workflows use, and the check of a workflow against them.

The facts are those that a ComfyUI server of June 2026 answers to `GET /object_info`: names of nodes and inputs, types,
ranges, outputs. Where a choice depends on the files of an installation (checkpoints, LoRAs), any name passes.
The API form (Workflow > Export (API)) maps a node's id to its `class_type` and `inputs`; an input is a value, or a link
`[id, output]`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pipelines.visible import clipped, visible
from workflows.errors import WorkflowError

SAMPLERS = (
    *("euler", "euler_cfg_pp", "euler_ancestral", "euler_ancestral_cfg_pp", "heun", "heunpp2", "dpm_2"),
    *("dpm_2_ancestral", "lms", "dpm_fast", "dpm_adaptive", "dpmpp_2s_ancestral", "dpmpp_2s_ancestral_cfg_pp"),
    *("dpmpp_sde", "dpmpp_sde_gpu", "dpmpp_2m", "dpmpp_2m_cfg_pp", "dpmpp_2m_sde", "dpmpp_2m_sde_gpu"),
    *("dpmpp_3m_sde", "dpmpp_3m_sde_gpu", "ddpm", "lcm", "ipndm", "ipndm_v", "deis", "res_multistep"),
    *("res_multistep_cfg_pp", "res_multistep_ancestral", "res_multistep_ancestral_cfg_pp", "gradient_estimation"),
    *("gradient_estimation_cfg_pp", "er_sde", "seeds_2", "seeds_3", "sa_solver", "sa_solver_pece"),
    *("ddim", "uni_pc", "uni_pc_bh2"),
)
SCHEDULERS = (
    *("simple", "sgm_uniform", "karras", "exponential", "ddim_uniform", "beta", "normal", "linear_quadratic"),
    "kl_optimal",
)
SCALINGS = ("nearest-exact", "bilinear", "area", "bicubic", "lanczos")


@dataclass(frozen=True, slots=True)
class Input:
    """An input of a node: its type, and for numbers the range, for a choice the names (none: any name)."""

    type: str
    least: float = -math.inf
    most: float = math.inf
    choices: tuple[str, ...] = ()
    optional: bool = False


@dataclass(frozen=True, slots=True)
class Node:
    """A node: its inputs, the types of its outputs in order, and whether it ends a workflow."""

    inputs: Mapping[str, Input]
    outputs: tuple[str, ...]
    ends: bool = False


_SIDE = Input("INT", 0, 16384)
_LATENT_SIDE = Input("INT", 16, 16384)
_STRENGTH = Input("FLOAT", -100, 100)
_SEED = Input("INT", 0, 2**64 - 1)
_STEPS = Input("INT", 1, 10000)
_STEP = Input("INT", 0, 10000)
_GUIDANCE = Input("FLOAT", 0, 100)
_FILE = Input("COMBO")
_MODEL, _CLIP, _VAE, _IMAGE = Input("MODEL"), Input("CLIP"), Input("VAE"), Input("IMAGE")
_CONDITIONING, _LATENT, _TEXT = Input("CONDITIONING"), Input("LATENT"), Input("STRING")
_SWITCH = Input("COMBO", choices=("enable", "disable"))
_SAMPLED = {
    "model": _MODEL,
    "steps": _STEPS,
    "cfg": _GUIDANCE,
    "sampler_name": Input("COMBO", choices=SAMPLERS),
    "scheduler": Input("COMBO", choices=SCHEDULERS),
    "positive": _CONDITIONING,
    "negative": _CONDITIONING,
    "latent_image": _LATENT,
}

NODES: Mapping[str, Node] = {
    "CheckpointLoaderSimple": Node({"ckpt_name": _FILE}, ("MODEL", "CLIP", "VAE")),
    "VAELoader": Node({"vae_name": _FILE}, ("VAE",)),
    "LoraLoader": Node(
        {
            "model": _MODEL,
            "clip": _CLIP,
            "lora_name": _FILE,
            "strength_model": _STRENGTH,
            "strength_clip": _STRENGTH,
        },
        ("MODEL", "CLIP"),
    ),
    "LoraLoaderModelOnly": Node({"model": _MODEL, "lora_name": _FILE, "strength_model": _STRENGTH}, ("MODEL",)),
    "ModelSamplingDiscrete": Node(
        {
            "model": _MODEL,
            "sampling": Input("COMBO", choices=("eps", "v_prediction", "lcm", "x0")),
            "zsnr": Input("BOOLEAN"),
        },
        ("MODEL",),
    ),
    "CLIPSetLastLayer": Node({"clip": _CLIP, "stop_at_clip_layer": Input("INT", -24, -1)}, ("CLIP",)),
    "CLIPTextEncode": Node({"clip": _CLIP, "text": _TEXT}, ("CONDITIONING",)),
    "CLIPTextEncodeSDXL": Node(
        {
            "clip": _CLIP,
            "width": _SIDE,
            "height": _SIDE,
            "crop_w": _SIDE,
            "crop_h": _SIDE,
            "target_width": _SIDE,
            "target_height": _SIDE,
            "text_g": _TEXT,
            "text_l": _TEXT,
        },
        ("CONDITIONING",),
    ),
    "ConditioningZeroOut": Node({"conditioning": _CONDITIONING}, ("CONDITIONING",)),
    "EmptyLatentImage": Node(
        {"width": _LATENT_SIDE, "height": _LATENT_SIDE, "batch_size": Input("INT", 1, 4096)}, ("LATENT",)
    ),
    "KSampler": Node({**_SAMPLED, "seed": _SEED, "denoise": Input("FLOAT", 0, 1)}, ("LATENT",)),
    "KSamplerAdvanced": Node(
        {
            **_SAMPLED,
            "add_noise": _SWITCH,
            "noise_seed": _SEED,
            "start_at_step": _STEP,
            "end_at_step": _STEP,
            "return_with_leftover_noise": _SWITCH,
        },
        ("LATENT",),
    ),
    "VAEDecode": Node({"samples": _LATENT, "vae": _VAE}, ("IMAGE",)),
    "ImageScale": Node(
        {
            "image": _IMAGE,
            "upscale_method": Input("COMBO", choices=SCALINGS),
            "width": _SIDE,
            "height": _SIDE,
            "crop": Input("COMBO", choices=("disabled", "center")),
        },
        ("IMAGE",),
    ),
    "ImageStitch": Node(
        {
            "image1": _IMAGE,
            "image2": Input("IMAGE", optional=True),
            "direction": Input("COMBO", choices=("right", "down", "left", "up")),
            "match_image_size": Input("BOOLEAN"),
            "spacing_width": Input("INT", 0, 1024),
            "spacing_color": Input("COMBO", choices=("white", "black", "red", "green", "blue")),
        },
        ("IMAGE",),
    ),
    "SaveImage": Node({"images": _IMAGE, "filename_prefix": _TEXT}, (), ends=True),
    "PreviewImage": Node({"images": _IMAGE}, (), ends=True),
}


def check_nodes(workflow: Mapping[str, Any]) -> None:
    """Checks an API workflow as a ComfyUI server does before it runs it.

    Raises:
        WorkflowError: a node that is not in NODES, an input that is missing, unknown, of another type or out of range,
            a link to no node or to an output of another type, a cycle, or no node that saves a picture. It names the
            node and the input.
    """
    for name, node in workflow.items():
        if not isinstance(node, Mapping) or not isinstance(node.get("inputs"), Mapping):
            raise WorkflowError("a node has a class_type and inputs.", where=_shown(name))
        facts = NODES.get(str(node.get("class_type")))
        if facts is None:
            raise WorkflowError(f"ComfyUI's node '{_shown(node.get('class_type'))}' is not known here.", where=name)
        for key, expected in facts.inputs.items():
            if key in node["inputs"]:
                _check_input(workflow, node["inputs"][key], expected, f"{name}.{key}")
            elif not expected.optional:
                raise WorkflowError(f"{node['class_type']} needs the input '{key}'.", where=name)
        if unknown := [key for key in node["inputs"] if key not in facts.inputs]:
            raise WorkflowError(f"{node['class_type']} takes no '{_shown(unknown[0])}'.", where=name)
    if not any(NODES[node["class_type"]].ends for node in workflow.values()):
        raise WorkflowError("no node saves a picture. Add a SaveImage node.")
    _check_order(workflow)


def link_of(value: object) -> tuple[str, int] | None:
    """Returns the (node id, output) that an input is linked to; None where it is a value."""
    if isinstance(value, list) and len(value) == 2 and isinstance(value[0], str) and type(value[1]) is int:
        return value[0], value[1]
    return None


def _check_input(workflow: Mapping[str, Any], value: object, expected: Input, where: str) -> None:
    if link := link_of(value):
        source = workflow.get(link[0])
        facts = NODES.get(str(source.get("class_type"))) if isinstance(source, Mapping) else None
        if facts is None or not 0 <= link[1] < len(facts.outputs):
            raise WorkflowError(f"the link to output {link[1]} of node '{_shown(link[0])}' leads nowhere.", where=where)
        if facts.outputs[link[1]] != expected.type:
            raise WorkflowError(f"needs {expected.type}, and is linked to {facts.outputs[link[1]]}.", where=where)
        return
    match expected.type:
        case "INT" | "FLOAT":
            kinds = (int,) if expected.type == "INT" else (int, float)
            if type(value) not in kinds or not expected.least <= value <= expected.most:  # type: ignore[operator]
                raise WorkflowError(f"needs {expected.type} from {expected.least:g} to {expected.most:g}.", where=where)
        case "BOOLEAN":
            if type(value) is not bool:
                raise WorkflowError("needs true or false.", where=where)
        case "STRING" | "COMBO":
            if not isinstance(value, str) or (expected.choices and value not in expected.choices):
                names = f"one of {', '.join(expected.choices)}" if expected.choices else "a text"
                raise WorkflowError(f"needs {names}, not {_shown(value)}.", where=where)
        case _:
            raise WorkflowError(f"needs a link to {expected.type}.", where=where)


def _check_order(workflow: Mapping[str, Any]) -> None:
    """Raises where links lead in a circle."""
    done: set[str] = set()
    for start in workflow:
        stack = [(start, iter(_sources(workflow[start])))]
        open_nodes = {start}
        while stack:
            name, sources = stack[-1]
            source = next((s for s in sources if s not in done), None)
            if source is None:
                done.add(name)
                open_nodes.discard(name)
                stack.pop()
            elif source in open_nodes:
                raise WorkflowError("its links lead in a circle.", where=source)
            else:
                open_nodes.add(source)
                stack.append((source, iter(_sources(workflow[source]))))


def _sources(node: Mapping[str, Any]) -> list[str]:
    return [link[0] for value in node["inputs"].values() if (link := link_of(value))]


def _shown(value: object) -> str:
    return clipped(visible(str(value)), 60)
