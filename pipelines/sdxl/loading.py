"""Load a model of the catalog: its components, from allowed classes only, in the dtype that suits the device.

Only safetensors are read, because a pickle can run code.
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError

from pipelines.errors import ModelError
from pipelines.models.catalog import Model, read_json, revision_of
from pipelines.sdxl.text import PromptEncoder
from pipelines.visible import clipped

_WEIGHTS = ("unet", "vae", "text_encoder", "text_encoder_2")
BROKEN = (
    *(OSError, ValueError, LookupError, RuntimeError, TypeError, AttributeError, ArithmeticError, AssertionError),
    *(ImportError, SafetensorError),
)
"""What diffusers and transformers raise for settings and weights that do not fit their classes."""


@dataclass(slots=True, eq=False)
class Resident:
    """A loaded model. The modules are in eval mode, without gradients, on one device."""

    model: Model
    revision: str
    unet: Any
    vae: Any
    text_encoder: Any
    text_encoder_2: Any
    tiny_vae: Any
    prompts: PromptEncoder
    scheduler: Any
    device: torch.device
    dtype: torch.dtype

    @property
    def scale(self) -> int:
        """Canvas pixels for each latent cell."""
        return 2 ** (len(self.vae.config.block_out_channels) - 1)

    @property
    def modules(self) -> dict[str, torch.nn.Module]:
        """The components with weights, by their diffusers names."""
        return {
            "unet": self.unet,
            "vae": self.vae,
            "text_encoder": self.text_encoder,
            "text_encoder_2": self.text_encoder_2,
        }

    @property
    def bytes(self) -> int:
        """Bytes of the weights."""
        return sum(p.numel() * p.element_size() for m in self.modules.values() for p in m.parameters())


def pick_device() -> torch.device:
    """Returns the best device of this machine: CUDA, then MPS, then CPU."""
    if torch.cuda.is_available():
        return torch.device("cuda")
    if torch.backends.mps.is_available():
        return torch.device("mps")
    return torch.device("cpu")


def pick_dtype(model: Model, device: torch.device) -> torch.dtype:
    """Picks float16 for SDXL on a GPU; float32 on a CPU, and for small models, whose cost is not arithmetic."""
    return torch.float32 if device.type == "cpu" or model.draws_pixels else torch.float16


def load_model(model: Model, device: torch.device, dtype: torch.dtype | None = None) -> Resident:
    """Loads the model's components onto `device`.

    Raises:
        ModelError: a component is missing, broken, or of a class that is not SDXL's.
    """
    dtype = dtype or pick_dtype(model, device)
    if model.file is not None:
        parts = _load_file(model, dtype)
    else:
        parts = {name: _load_part(model, name, dtype) for name in _WEIGHTS if name != "vae" or not model.vae}
    if model.vae is not None:
        parts["vae"] = _load_part(model, "vae", dtype, model.vae)
    if dtype == torch.float16 and getattr(parts["vae"].config, "force_upcast", False):
        parts["vae"].float()  # SDXL's own decoder overflows in float16; the repaired one says that it does not
    parts["tiny_vae"] = _load_part(model, "tiny_vae", dtype, model.tiny_vae) if model.tiny_vae else None
    for part in parts.values():
        if part is not None:
            part.requires_grad_(False).eval().to(device)
    index = read_json(model.folder / "model_index.json")
    encoder = PromptEncoder(
        [_load_tokenizer(model, name) for name in ("tokenizer", "tokenizer_2")],
        [parts["text_encoder"], parts["text_encoder_2"]],
        bool(index.get("force_zeros_for_empty_prompt", True)),
    )
    return Resident(
        model=model,
        revision=revision_of(model),
        prompts=encoder,
        scheduler=_load_scheduler(model),
        device=device,
        dtype=dtype,
        **parts,
    )


def weight_bytes(model: Model, dtype: torch.dtype) -> int:
    """Estimates the bytes of the model's weights from the sizes of its files."""
    if model.file is not None:
        files = [model.file]
    else:
        folders = [model.vae if name == "vae" and model.vae else model.folder / name for name in _WEIGHTS]
        files = [file for folder in folders for file in _weight_files(folder)]
    # what is stored in half precision doubles on a CPU
    return sum(f.stat().st_size for f in files) * (2 if dtype == torch.float32 else 1)


def _weight_files(folder: Path) -> list[Path]:
    """Lists a component's safetensors: the full ones, or the half-precision variant where there are no others."""
    files = sorted(folder.glob("*.safetensors"))
    return [f for f in files if ".fp16." not in f.name] or files


def _load_part(model: Model, name: str, dtype: torch.dtype, folder: Path | None = None) -> Any:
    folder = folder or model.folder / name
    weights = _weight_files(folder)
    if not weights:
        pickles = [f.name for f in folder.glob("*") if f.suffix in (".bin", ".ckpt", ".pt", ".pth")]
        if pickles:
            raise ModelError(
                f"{folder} holds its weights as a pickle ({pickles[0]}), which can run any code when it is opened, so "
                "it is not read. Use a checkpoint in safetensors, or convert it in a sandbox first."
            )
        raise ModelError(f"{folder} holds no weights (*.safetensors). Download the model again.")
    extra: dict[str, Any] = {"variant": "fp16"} if ".fp16." in weights[0].name else {}
    if unified_memory():
        extra["disable_mmap"] = True  # mapped files are copied twice there, and crawl
    if model.draws_pixels:
        extra["low_cpu_mem_usage"] = False  # saves nothing here and imports accelerate
    try:
        return _loader(model, name).from_pretrained(
            folder, dtype=dtype, use_safetensors=True, local_files_only=True, **extra
        )
    except BROKEN as error:
        raise ModelError(
            f"The {name} of '{model.id}' cannot be loaded: {_first_line(error)}. Download the model again."
        ) from error


def _load_file(model: Model, dtype: torch.dtype) -> dict[str, Any]:
    from diffusers.pipelines.stable_diffusion_xl.pipeline_stable_diffusion_xl import StableDiffusionXLPipeline

    try:
        pipeline = StableDiffusionXLPipeline.from_single_file(
            str(model.file), config=str(model.folder), local_files_only=True, dtype=dtype, add_watermarker=False
        )
    except BROKEN as error:
        raise ModelError(f"{model.file} cannot be loaded as SDXL: {_first_line(error)}. Download it again.") from error
    parts = {name: getattr(pipeline, name) for name in _WEIGHTS}
    for name, part in parts.items():
        # diffusers leaves what the file lacks without data, and says nothing where it is a text encoder
        if missing := [n for n, p in part.named_parameters() if p.is_meta]:
            raise ModelError(
                f"{model.file} cannot be loaded as SDXL: its {name} lacks {len(missing)} tensors ({missing[0]}). "
                "Download it again."
            )
    return parts


def _first_line(error: Exception) -> str:
    return clipped(next(iter(str(error).splitlines()), "it is damaged"), 300)


def unified_memory() -> bool:
    """Returns whether GPU and CPU share memory (GB10, Jetson)."""
    return torch.cuda.is_available() and bool(torch.cuda.get_device_properties(0).is_integrated)


def _loader(model: Model, name: str) -> Any:
    # From their own modules: the packages' roots would import hundreds of models.
    if name == "unet":
        if model.draws_pixels:
            from pipelines.embedded.unet import EmbeddedUNet

            return EmbeddedUNet
        from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

        return UNet2DConditionModel
    if model.draws_pixels and name in ("text_encoder", "text_encoder_2"):
        from pipelines.embedded.text import EmbeddedTextEncoder, EmbeddedTextEncoderWithProjection

        return EmbeddedTextEncoder if name == "text_encoder" else EmbeddedTextEncoderWithProjection
    if name == "vae":
        if model.draws_pixels:
            from pipelines.embedded.autoencoder import PixelAutoencoder

            return PixelAutoencoder
        from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL

        return AutoencoderKL
    if name == "tiny_vae":
        from diffusers.models.autoencoders.autoencoder_tiny import AutoencoderTiny

        return AutoencoderTiny
    from transformers import CLIPTextModel, CLIPTextModelWithProjection
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()  # the caller has a progress of its own
    return CLIPTextModel if name == "text_encoder" else CLIPTextModelWithProjection


def _load_tokenizer(model: Model, name: str) -> Any:
    folder = model.folder / name
    if model.draws_pixels:
        from pipelines.embedded.text import WordTokenizer

        try:
            return WordTokenizer(folder)
        except Exception as error:  # tokenizers raises no other kind
            raise ModelError(f"The {name} of '{model.id}' cannot be loaded. Download the model again.") from error
    from transformers import CLIPTokenizer, PreTrainedTokenizerFast

    kind = str(read_json(folder / "tokenizer_config.json").get("tokenizer_class", ""))
    loader = CLIPTokenizer if kind.startswith("CLIP") else PreTrainedTokenizerFast
    try:
        return loader.from_pretrained(folder, local_files_only=True)
    except Exception as error:  # tokenizers raises no other kind
        raise ModelError(f"The {name} of '{model.id}' cannot be loaded. Download the model again.") from error


def _load_scheduler(model: Model) -> Any:
    config = read_json(model.folder / "scheduler" / "scheduler_config.json")
    try:
        return make_scheduler(str(config.get("_class_name")), config)
    except BROKEN as error:
        raise ModelError(
            f"The scheduler of '{model.id}' cannot be made: {_first_line(error)}. Download the model again."
        ) from error


def make_scheduler(name: str, config: Any) -> Any:
    """Builds a scheduler of a diffusers class from the configuration of another.

    Raises:
        ModelError: diffusers has no such scheduler.
    """
    import diffusers

    if not name.endswith("Scheduler") or (kind := getattr(diffusers, name, None)) is None:
        raise ModelError(f"diffusers has no scheduler '{name}'. Use an SDXL checkpoint as it was published.")
    # As kind.from_config, which imports every scheduler of diffusers, and with them scipy.stats, to word its warnings.
    unset = set(config.get("_use_default_values", ()))
    given = {key: value for key, value in config.items() if key not in unset and not key.startswith("_")}
    expected = inspect.signature(kind.__init__).parameters
    scheduler = kind(**{key: value for key, value in given.items() if key in expected})
    # what this class does not use is kept for the class that is made from its configuration
    scheduler.register_to_config(**{key: value for key, value in given.items() if key not in expected})
    return scheduler
