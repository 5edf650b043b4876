"""Read the tensor names of a LoRA file: which component, which layer, which factor.

Several ways of naming are in use for SDXL (kohya on the original or on the diffusers UNet, LyCORIS, A1111, PEFT,
diffusers new and old, ComfyUI). They differ in prefix, in suffix and in `_` against `.`, so a name is cut into
(component, layer, role), the layer is flattened to underscores, and `aliases` lists every flattened name that a module
of the model answers to. Reads names, shapes and safetensors headers only.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from pipelines.adapters.families import SDXL, OtherFamilyError, family_of
from pipelines.adapters.finite import check_header
from pipelines.errors import AdapterError, TextError
from pipelines.text_files import read_json

FOLDER_FILES = ("pytorch_lora_weights.safetensors", "adapter_model.safetensors")
"""Names that diffusers and PEFT give the one weights file of an adapter folder."""

_PREFIXES = (
    ("lycoris_unet", "unet"),
    ("lycoris_te1", "text_encoder"),
    ("lycoris_te2", "text_encoder_2"),
    ("lycoris_te", "text_encoder"),
    ("lycoris_text_encoder_2", "text_encoder_2"),
    ("lycoris_text_encoder", "text_encoder"),
    ("lycoris", "unet"),
    ("lora_unet", "unet"),
    ("lora_te1", "text_encoder"),
    ("lora_te2", "text_encoder_2"),
    ("lora_te", "text_encoder"),
    ("text_encoder_2", "text_encoder_2"),
    ("text_encoder", "text_encoder"),
    ("unet", "unet"),
    ("model.diffusion_model", "unet"),
    ("diffusion_model", "unet"),
)
_ROLES = {"down": "down", "A": "down", "up": "up", "B": "up", "mid": "mid"}
_SUFFIX = re.compile(
    r"""^(?P<layer>.+?)
    (?: \.alpha
      | [._]lora(?:_linear_layer)?\.(?P<long>down|up)\.weight      # diffusers
      | \.lora_(?P<short>down|up|mid|A|B)(?:\.[^.]+)?\.weight      # kohya, PEFT (with or without the adapter's name)
      | \.lora_(?P<bare>A|B)                                       # PEFT on a bare parameter
      | \.(?P<other>hada_(?:w[12]_[ab]|t[12])|lokr_(?:w[12](?:_[ab])?|t2)|diff(?:_b)?|[wb]_norm)(?:\.weight)?
      | \.(?P<scale>dora_scale)(?:\.weight)?
      | \.(?P<magnitude>lora_magnitude_vector(?:\.[^.]+)?(?:\.weight)?)
    )$""",
    re.VERBOSE,
)
_REFUSED = tuple(
    (re.compile(rf"(?:^|\.)(?:{mark})"), kind)
    for mark, kind in (
        ("b?oft_", "OFT"),
        ("ia3_|on_input", "IA3"),
        ("vera_lambda", "VeRA"),
        ("lora_embedding_", "a LoRA of token embeddings"),
        (r"lora_(?:B|up)\.(?:[^.]+\.)?bias", "a LoRA with trained biases"),
    )
)


LONGEST_NAME = 400
"""Characters of a tensor's name: SDXL's longest layers have 120. Longer ones would keep the patterns below busy."""
_BUNDLED = re.compile(r"bundle_emb\.([^.]+)\.")
"""An embedding that OneTrainer puts into a LoRA file."""


class Key(NamedTuple):
    """A tensor's place. `layer` is flattened with `_`; `role` is down, up, mid, alpha, magnitude (DoRA of PEFT), diff,
    diff_b, w_norm, b_norm, or LyCORIS's own name: dora_scale, a LoHa or a LoKr factor."""

    component: str
    layer: str
    role: str


@dataclass(frozen=True)
class AdapterHeader:
    """A LoRA file as its header describes it: no weights were read.

    `names` maps each Key to the tensor's name in the file, `shapes` to its shape. `alphas` holds alphas that are
    written in metadata and not as tensors, by (component, layer pattern); "" is the default of the component.
    `root_scaled` names the components whose scale is alpha / sqrt(rank) (rsLoRA), `config_ranks` has the rank that
    PEFT's settings give a component, `left_out` the names of embeddings in the file, which are not used.
    """

    path: Path
    names: dict[Key, str]
    shapes: dict[Key, tuple[int, ...]]
    metadata: dict[str, str]
    alphas: dict[tuple[str, str], float]
    root_scaled: frozenset[str]
    config_ranks: dict[str, int] = field(default_factory=dict)
    left_out: tuple[str, ...] = ()

    @property
    def ranks(self) -> tuple[int, ...]:
        """The distinct ranks in the file, ascending."""
        low_rank = ("down", "hada_w1_b", "lokr_w2_b")
        return tuple(sorted({shape[0] for key, shape in self.shapes.items() if key.role in low_rank}))

    @property
    def note(self) -> str:
        """What of the file is not used, as a sentence; empty where all of it is."""
        if not self.left_out:
            return ""
        names = ", ".join(f"'{name}'" for name in self.left_out[:3])
        return f"{self.path.name} also holds the embedding {names}, which is left out: its word means nothing here."

    @property
    def components(self) -> tuple[str, ...]:
        """The components that the file changes, sorted."""
        return tuple(sorted({key.component for key in self.names}))

    def alpha(self, component: str, layer: str) -> float | None:
        """Returns the alpha that the metadata gives the layer; None where it says nothing (scale 1 then)."""
        for (owner, pattern), alpha in self.alphas.items():
            if owner == component and pattern and (layer == pattern or layer.endswith("_" + pattern)):
                return alpha
        return self.alphas.get((component, ""))


def parse_key(name: str) -> Key | None:
    """Finds the place of the tensor called `name`; None where it is not the name of a LoRA's tensor."""
    found = _SUFFIX.match(name)
    if not found:
        return None
    role = _ROLES.get(found["long"] or found["short"] or found["bare"] or "", "alpha")
    role = found["other"] or found["scale"] or ("magnitude" if found["magnitude"] else role)
    layer, component = found["layer"].removeprefix("base_model.model."), "unet"
    # diffusers' `save_lora_adapter` puts this in front of a UNet's layers too
    layer = re.sub(r"^transformer\.(?=down_blocks|up_blocks|mid_block|conv_)", "", layer)
    for prefix, owner in _PREFIXES:
        if layer.startswith((prefix + ".", prefix + "_")):
            layer, component = layer[len(prefix) + 1 :], owner
            break
    # Old diffusers files name the attention processor, which is not a module.
    return Key(component, layer.replace(".processor.", ".").replace(".", "_"), role)


def aliases(component: str, modules: Iterable[str]) -> dict[str, str]:
    """Returns every flattened name in use -> the dotted module name, for the modules of one component.

    `modules` are dotted names as `named_modules` gives them. The original SDXL layout's names are derived from the
    diffusers ones, the blocks' length being read off the names.
    """
    names = [name for name in modules if name]
    table: dict[str, str] = {}
    per_block = len({name.split(".")[3] for name in names if name.startswith("down_blocks.0.resnets.")})
    attending = {name.split(".")[1] for name in names if re.match(r"up_blocks\.\d+\.attentions\.", name)}
    for name in names:
        spellings = [name]
        if component == "unet":
            spellings.append(_original_layout(name, per_block, attending))
        else:
            # transformers 5 dropped the wrapper `text_model` from one of the two encoders; files keep it.
            bare = name.removeprefix("text_model.")
            spellings += [bare, "text_model." + bare]
        for spelling in spellings:
            table.setdefault(spelling.replace(".", "_"), name)
            for ours, old in (("to_out.0", "to_out"), ("q_proj", "to_q"), ("k_proj", "to_k"), ("v_proj", "to_v")):
                if spelling.endswith("." + ours):
                    table.setdefault(spelling.removesuffix(ours).replace(".", "_") + old, name)
            if spelling.endswith(".out_proj"):
                table.setdefault(spelling.removesuffix("out_proj").replace(".", "_") + "to_out", name)
    return table


def _original_layout(name: str, per_block: int, attending: set[str]) -> str:
    """Returns the name of a diffusers UNet module in the original (sgm) SDXL UNet; the name itself where it has none.

    `per_block` resnets make a down block (one more an up block); `attending` are the up blocks with attention.
    """
    top = {
        "conv_in": "input_blocks.0.0",
        "conv_out": "out.2",
        "conv_norm_out": "out.0",
        "time_embedding.linear_1": "time_embed.0",
        "time_embedding.linear_2": "time_embed.2",
        "add_embedding.linear_1": "label_emb.0.0",
        "add_embedding.linear_2": "label_emb.0.2",
    }
    if name in top:
        return top[name]
    block = re.match(r"(?:(down|up)_blocks\.(\d+)|(mid)_block)\.(resnets|attentions|\w+samplers)\.(\d+)(.*)$", name)
    if not block:
        return name
    side, number, mid, kind, inner, rest = block.groups()
    i, j = int(number or 0), int(inner)
    for ours, theirs in (
        (".conv1", ".in_layers.2"),
        (".conv2", ".out_layers.3"),
        (".norm1", ".in_layers.0"),
        (".norm2", ".out_layers.0"),
        (".time_emb_proj", ".emb_layers.1"),
        (".conv_shortcut", ".skip_connection"),
    ):
        if kind == "resnets" and rest == ours:
            rest = theirs
    part = 1 if kind == "attentions" else 0
    if mid:
        return f"middle_block.{1 if part else 2 * j}{rest}"
    if side == "down":
        if kind == "downsamplers":
            return f"input_blocks.{(i + 1) * (per_block + 1)}.0.op"
        return f"input_blocks.{1 + i * (per_block + 1) + j}.{part}{rest}"
    if kind == "upsamplers":
        return f"output_blocks.{i * (per_block + 1) + per_block}.{2 if number in attending else 1}{rest}"
    return f"output_blocks.{i * (per_block + 1) + j}.{part}{rest}"


def adapter_file(path: Path | str) -> Path:
    """Returns the weights file that `path`, a file or an adapter folder, means.

    Raises:
        AdapterError: there is none, or it is a pickle.
    """
    path = Path(path)
    if path.is_dir():
        inside = [path / name for name in FOLDER_FILES if (path / name).is_file()] or sorted(path.glob("*.safetensors"))
        if len(inside) != 1:
            raise AdapterError(f"{path} holds {len(inside)} .safetensors files. Name the LoRA's file itself.")
        path = inside[0]
    if not path.is_file():
        raise AdapterError(f"There is no LoRA file at {path}. Check the path, or list what is known with list_models.")
    if path.suffix.lower() != ".safetensors":
        raise AdapterError(
            f"{path.name} is not a .safetensors file. Other forms can run code when they are opened and are refused: "
            "get the .safetensors version of this LoRA, or convert it with a tool you trust."
        )
    return path


def read_header(path: Path | str) -> AdapterHeader:
    """Reads names, shapes and metadata of a LoRA file or folder; its weights stay on disk.

    Raises:
        AdapterError: missing, broken, a pickle, not a LoRA, or of a kind that cannot be merged (OFT, IA3, ...).
        OtherFamilyError: made for another model family.
    """
    from safetensors import SafetensorError, safe_open

    path = adapter_file(path)
    try:
        check_header(path)
        with safe_open(path, framework="np") as file:
            metadata = dict(file.metadata() or {})
            shapes = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118 (no dict)
    except (SafetensorError, OSError) as error:
        raise AdapterError(f"{path.name} cannot be read ({error}). Download or export it again.") from error
    if any(len(name) > LONGEST_NAME for name in shapes):
        raise AdapterError(f"{path.name} holds tensors with names that no program writes. Download or export it again.")
    family = family_of(shapes, metadata)
    if family not in ("", SDXL):
        raise OtherFamilyError(
            f"{path.name} is a LoRA for {family}; the models here are of the SDXL family. Get the SDXL version of it.",
            family,
        )
    _refuse_other_kinds(path, shapes)
    names: dict[Key, str] = {}
    left_out: dict[str, None] = {}
    for name in shapes:
        if bundled := _BUNDLED.match(name):
            left_out[bundled[1]] = None
            continue
        key = parse_key(name)
        if key is None:
            raise AdapterError(f"{path.name} holds '{name}', which is not a LoRA weight. Is it a LoRA for SDXL?")
        names[key] = name
    if not any(key.role != "alpha" for key in names):
        raise AdapterError(f"{path.name} holds no LoRA weights. Is it a LoRA for SDXL?")
    kept = {key: shapes[name] for key, name in names.items()}
    _check_shapes(path, kept)
    try:
        alphas, root_scaled, ranks = _alphas(path, metadata)
        if not all(math.isfinite(alpha) for alpha in alphas.values()):
            raise ValueError("an alpha is not a finite number")
    except (ValueError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise AdapterError(
            f"The settings in {path.name} have a form that no known program writes. Download or export it again."
        ) from error
    return AdapterHeader(path, names, kept, metadata, alphas, root_scaled, ranks, tuple(left_out))


def _check_shapes(path: Path, shapes: Mapping[Key, tuple[int, ...]]) -> None:
    """Refuses factors that are not matrices and alphas that are not single numbers.

    Raises:
        AdapterError: names the layer.
    """
    for key, shape in shapes.items():
        good = math.prod(shape) == 1 if key.role == "alpha" else len(shape) >= 2 and math.prod(shape) > 0
        if key.role in ("down", "up", "mid", "alpha") and not good:
            size = "x".join(map(str, shape)) or "a single number"
            raise AdapterError(
                f"{path.name} is damaged: '{key.role}' of layer {key.layer[:80]} has the size {size}. Download or "
                "export it again."
            )


def _refuse_other_kinds(path: Path, names: Iterable[str]) -> None:
    for mark, kind in _REFUSED:
        if any(mark.search(name) for name in names):
            raise AdapterError(
                f"{path.name} is {kind}, which cannot be merged here. Use a plain LoRA (or LoCon) of the same style, "
                "or convert it to one."
            )


def _alphas(
    path: Path, metadata: dict[str, str]
) -> tuple[dict[tuple[str, str], float], frozenset[str], dict[str, int]]:
    """Alphas, rsLoRA flags and ranks from diffusers' metadata or PEFT's adapter_config.json beside the file."""
    config: dict[str, Any] = {}
    beside = path.with_name("adapter_config.json")
    try:
        if metadata.get("lora_adapter_metadata"):
            config = json.loads(metadata["lora_adapter_metadata"])
        elif path.name == "adapter_model.safetensors" and beside.is_file():
            config = {f"unet.{k}": v for k, v in read_json(beside).items()}
    except (ValueError, TextError) as error:
        raise AdapterError(f"The settings of {path.name} cannot be read ({error}). Export it again.") from error
    alphas: dict[tuple[str, str], float] = {}
    root_scaled: set[str] = set()
    ranks: dict[str, int] = {}
    for name, value in config.items():
        component, _, field = name.partition(".")
        if field in ("lora_alpha", "alpha") and value is not None:  # PEFT's LoHa and LoKr call it alpha
            alphas[component, ""] = float(value)
        elif field == "alpha_pattern":
            for pattern, alpha in (value or {}).items():
                alphas[component, pattern.strip("^$").replace("\\.", ".").replace(".", "_")] = float(alpha)
        elif field == "use_rslora" and value:
            root_scaled.add(component)
        elif field == "r" and value:
            ranks[component] = int(value)
    return alphas, frozenset(root_scaled), ranks
