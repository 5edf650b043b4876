"""The catalog: which models there are, where they are, what they are by default. Imports no torch and loads nothing.

A model is named by `embedded`, `sdxl`, a hub id (`owner/name` or `owner/name@revision`), or the path of a local SDXL
checkpoint: a folder in diffusers layout, or one .safetensors file. What has the form of a hub id never means a folder:
a folder of that name in the working directory must not take the place of a model. `pipelines.sdxl.loading` loads what
is named here.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from pipelines import text_files
from pipelines.errors import InvalidRequest, ModelError, TextError
from pipelines.files import check_readable, user_path
from pipelines.models.extras import EXTRAS
from pipelines.models.families import BY_NAME, BY_PIPELINE, FAMILIES
from pipelines.models.hub import Repo, cached_file, pulled_names, snapshot
from pipelines.models.presets import PIXEL_PRESETS, PRESETS, SDXL_PRESETS, Preset
from pipelines.records import ModelInfo
from pipelines.visible import clipped

EMBEDDED = Path(__file__).parents[1] / "embedded" / "checkpoint"

COMPONENTS = ("unet", "vae", "text_encoder", "text_encoder_2", "tokenizer", "tokenizer_2", "scheduler")
"""The folders of a checkpoint in diffusers layout."""


EMBEDDED_ID = "embedded"
SDXL = "sdxl"
SDXL_FAMILY = "sdxl"
PLAIN_NOTE = "Draws from a prompt alone: no sketch, edit, tileset or training."
CHECKPOINT_FILES = ("*.json", "*.txt", "*/*.fp16.safetensors")
"""Of a checkpoint on the hub only the half-precision weights are fetched."""
SDXL_BASE = Repo(
    "stabilityai/stable-diffusion-xl-base-1.0",
    "462165984030d82259a11f4367a4eed129e94a7b",
    (
        *("model_index.json", "scheduler/*.json", "tokenizer*/*", "*/config.json"),
        *("unet/*.fp16.safetensors", "text_encoder/model.fp16.safetensors", "text_encoder_2/model.fp16.safetensors"),
    ),
    "openrail++",
)
SDXL_CONFIG = Repo(
    SDXL_BASE.id,
    SDXL_BASE.revision,
    ("model_index.json", "scheduler/*.json", "tokenizer*/*", "*/config.json"),
    SDXL_BASE.licence,
)
SDXL_VAE = Repo(
    "madebyollin/sdxl-vae-fp16-fix",
    "207b116dae70ace3637169f1ddd2434b91b3a8cd",
    ("config.json", "diffusion_pytorch_model.safetensors"),
    "mit",
)
TINY_VAE = Repo(
    "madebyollin/taesdxl",
    "b20258aaef75ef61e659c1e0f14f251cf0ad153e",
    ("config.json", "diffusion_pytorch_model.safetensors"),
    "mit",
)
STYLE = Repo(
    "nerijs/pixel-art-xl",
    "8bf4a4d9ea283e00a51fafda8e0539f8248ea037",
    ("pixel-art-xl.safetensors",),
    "creativeml-openrail-m",
)

LONGEST_HEADER = 16 << 20
"""Bytes of a safetensors file's header: SDXL's checkpoints have 0.5 MB; it is read into memory whole."""
_HUB_ID = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*(@[\w.-]+)?")


@dataclass(frozen=True, slots=True)
class Model:
    """What is known of a model before it is loaded.

    `native_sizes` (pixels) are those of a model that draws single pixels, such as the embedded one; a model without
    draws canvases of `canvases` pixels that are finished down. `guided` is the part of the steps that are guided.
    `file` is set where all weights are in one file; `folder` then holds the configuration. `vae` and `tiny_vae` are
    folders of decoders to use instead of the checkpoint's own, `style` a LoRA that belongs to the model.
    `vocabulary` is the tokenizer file of a model that knows only the words in it: prompts are translated into them.
    `family` is SDXL_FAMILY, drawn by our own loop with every feature, or one of `families.FAMILIES`, which diffusers'
    own pipelines draw from a prompt alone. Sprites have sides of `smallest` to `largest` pixels, backgrounds up to
    `largest_scene`; of `tile_candidates` textures for a terrain the best is kept.
    """

    id: str
    title: str
    licence: str
    folder: Path
    native_sizes: tuple[int, ...] = ()
    canvases: tuple[int, ...] = (512, 768, 1024)
    steps: int = 30
    guidance: float = 6.0
    guided: tuple[float, float] = (0.0, 1.0)
    note: str = ""
    presets: tuple[str, ...] = ()
    revision: str = ""
    file: Path | None = None
    vae: Path | None = None
    tiny_vae: Path | None = None
    style: Path | None = None
    vocabulary: Path | None = None
    smallest: int = 8
    largest: int = 256
    largest_scene: int = 640
    family: str = SDXL_FAMILY

    @property
    def draws_pixels(self) -> bool:
        """Whether a pixel of its canvas is a pixel of the sprite (and it draws transparency itself)."""
        return bool(self.native_sizes)

    @property
    def tile_candidates(self) -> int:
        """Textures that are drawn for a terrain by default: fewer where a drawing takes long."""
        return 12 if self.draws_pixels else 2

    def sprite_candidates(self, count: int) -> int:
        """Returns how many pictures to choose from for each of `count` sprites: up to four, at most eight in all.

        Eight are one batch. A model that takes a second for each picture draws one.
        """
        return min(4, max(1, 8 // count)) if self.draws_pixels else 1


def embedded_model() -> Model:
    """Returns the model that ships in the package."""
    return Model(
        id=EMBEDDED_ID,
        title="Embedded pixel-art model",
        licence="CC0-1.0",
        folder=EMBEDDED,
        native_sizes=(16, 32),
        largest=96,
        largest_scene=96,
        canvases=(32,),
        steps=8,
        guidance=1.5,
        presets=_pixel_presets(EMBEDDED),
        vocabulary=EMBEDDED / "tokenizer" / "tokenizer.json",
        note="Draws 32 and 16 px sprites from a small vocabulary, without a GPU or a download.",
    )


def find_model(name: str) -> Model:
    """Returns the model of that id or path.

    Raises:
        ModelError: there is none, or the folder is not an SDXL checkpoint.
        FileError: it is a path that the request's user may not read.
    """
    if name == (shipped := embedded_model()).id:
        return shipped
    if not is_path(name):
        return hub_model(name)
    path = user_path(name)
    check_readable(path, f"The model {clipped(name, 200)}")
    if path.is_dir():
        return folder_model(path.resolve())
    if path.is_file():
        return file_model(path.resolve())
    raise ModelError(
        f"There is no model '{clipped(name, 200)}'. Use 'embedded', 'sdxl', a hub id (owner/name), or the path of an "
        "SDXL checkpoint: a folder with a model_index.json, or one .safetensors file. list_models shows what there is."
    )


def is_path(name: str) -> bool:
    """Returns whether a model's name is a path. A relative folder with two parts is written `./models/mine`."""
    if name in (EMBEDDED_ID, SDXL, *BY_NAME):
        return False
    return not _HUB_ID.fullmatch(name) or name.endswith(".safetensors")


def _pixel_presets(folder: Path) -> tuple[str, ...]:
    return PIXEL_PRESETS if (folder / PRESETS["turbo"].lora).is_file() else ()


def folder_model(folder: Path) -> Model:
    """Returns a local checkpoint in diffusers layout.

    Raises:
        ModelError: it is not one, or not of the SDXL family.
    """
    index = read_json(folder / "model_index.json")
    if family := BY_PIPELINE.get(str(index.get("_class_name"))):
        return Model(
            id=str(folder),
            title=family.title,
            licence="unknown",
            folder=folder,
            steps=family.steps,
            guidance=family.guidance,
            family=family.id,
            note=PLAIN_NOTE,
        )
    if "text_encoder_2" not in index or "unet" not in index:
        raise ModelError(
            f"{folder} holds a {index.get('_class_name', 'model')}, which is not of the SDXL family. Use an SDXL "
            f"checkpoint (two text encoders and a UNet), or a folder of one of these: {', '.join(BY_PIPELINE)}."
        )
    unet, vae = read_json(folder / "unet" / "config.json"), read_json(folder / "vae" / "config.json")
    if unet.get("addition_embed_type") != "text_time":
        raise ModelError(
            f"The UNet in {folder} takes no size conditioning, so it is not SDXL's. Use an SDXL checkpoint."
        )
    canvas = _canvas(folder, unet, vae)
    if vae.get("out_channels") == 4:
        return Model(
            id=str(folder),
            title=folder.name,
            licence="unknown",
            folder=folder,
            native_sizes=tuple(sorted({canvas // 2, canvas})),
            largest=2 * canvas,
            largest_scene=2 * canvas,
            canvases=(canvas,),
            steps=8,
            guidance=1.5,
            presets=_pixel_presets(folder),
        )
    return Model(
        id=str(folder),
        title=folder.name,
        licence="unknown",
        folder=folder,
        canvases=(512, 768, 1024) if canvas == 1024 else (canvas,),
        presets=SDXL_PRESETS,
    )


def _canvas(folder: Path, unet: dict[str, Any], vae: dict[str, Any]) -> int:
    """Returns the side in pixels of what the model was trained on."""
    blocks, side = vae.get("block_out_channels", ()), unet.get("sample_size", 128)
    if isinstance(blocks, list | tuple) and 1 <= len(blocks) <= 8 and isinstance(side, int) and 1 <= side <= 1024:
        return side * 2 ** (len(blocks) - 1)
    raise ModelError(
        f"The settings in {folder} name sizes that no SDXL checkpoint has (sample_size, block_out_channels). Download "
        "it again."
    )


def file_model(path: Path) -> Model:
    """Returns one .safetensors file with all of an SDXL checkpoint's weights.

    Raises:
        ModelError: it is a pickle, not of the SDXL family, or the configuration that it goes with was not fetched.
    """
    if path.suffix != ".safetensors":
        raise ModelError(
            f"{path.name} is not a .safetensors file. Pickles (.ckpt, .bin, .pt) can run any code when they are "
            "opened, so they are not read: use the checkpoint's safetensors form."
        )
    names = header(path)
    if not any(name.startswith("conditioner.embedders.1.") for name in names):
        raise ModelError(
            f"{path.name} is not of the SDXL family (it has no second text encoder). Use an SDXL checkpoint."
        )
    beside = path.with_suffix("")
    folder = beside if (beside / "model_index.json").is_file() else snapshot(SDXL_CONFIG)
    if folder is None:
        raise ModelError(
            f"{path.name} holds weights alone. `dgx-pixels models pull sdxl-config` fetches the tokenizers and the "
            "configuration that go with every SDXL checkpoint (3 MB)."
        )
    return replace(
        folder_model(folder),
        id=str(path),
        title=path.stem,
        file=path,
        vae=snapshot(SDXL_VAE),
        tiny_vae=snapshot(TINY_VAE),
    )


def hub_model(name: str) -> Model:
    """Returns a model of the hub that was pulled before.

    Raises:
        ModelError: it was not pulled, or is not of the SDXL family.
    """
    repo = hub_repos(name)[0]
    folder = snapshot(repo)
    if folder is None:
        raise ModelError(
            f"'{name}' is not on this machine yet. `dgx-pixels models pull {name}` fetches it, sizes and licences "
            "first (SDXL: 7.8 GB with what goes with it); model='embedded' draws without a download."
            + _meant_folder(name)
        )
    found = folder_model(folder)
    if found.family != SDXL_FAMILY:
        return replace(found, id=name, licence=repo.licence, revision=folder.name)
    model = replace(
        found,
        id=name,
        title="SDXL base 1.0 with pixel-art-xl" if name == SDXL else repo.id,
        licence=repo.licence,
        revision=folder.name,
        tiny_vae=snapshot(TINY_VAE),
    )
    if model.draws_pixels:
        return model
    style = cached_file(STYLE, STYLE.files[0]) if name == SDXL else None
    return replace(model, vae=snapshot(SDXL_VAE), style=style)


def _meant_folder(name: str) -> str:
    return f" The folder is './{name}'." if Path(name).is_dir() else ""


def sdxl_info() -> ModelInfo:
    """Returns what a list of models says of SDXL: also where it was not pulled."""
    if snapshot(SDXL_BASE) is not None:
        return _pulled_info(SDXL)
    note = "`dgx-pixels models pull sdxl` fetches it (7.8 GB with what goes with it)."
    return ModelInfo(
        SDXL, "SDXL base 1.0 with pixel-art-xl", "not_downloaded", SDXL_BASE.licence, (), SDXL_PRESETS, note
    )


def pulled_infos() -> list[ModelInfo]:
    """Returns what a list of models says of the hub ids that a user pulled, each with the commit that it stays at."""
    beside = (*hub_repos(SDXL), *EXTRAS.values(), *(family.repo for family in FAMILIES.values()))
    own = {repo.id for repo in beside}
    names = (name.removesuffix("@main") for name in pulled_names())
    return [_pulled_info(name) for name in names if not is_path(name) and name.partition("@")[0] not in own]


def _pulled_info(name: str) -> ModelInfo:
    """Returns a pulled model, or why it cannot be used."""
    try:
        model = hub_model(name)
    except ModelError as error:
        commit = getattr(snapshot(hub_repos(name)[0]), "name", "")
        return ModelInfo(name, name, "broken", "unknown", (), (), str(error), commit)
    return ModelInfo(
        name, model.title, "available", model.licence, model.native_sizes, model.presets, model.note, model.revision
    )


def family_infos() -> tuple[ModelInfo, ...]:
    """Describes the models that diffusers' own pipelines draw with, also where they were not pulled."""
    infos = []
    for family in FAMILIES.values():
        if snapshot(family.repo) is not None:
            infos.append(_pulled_info(family.name))
        else:
            note = f"`dgx-pixels models pull {family.name}` fetches it. {PLAIN_NOTE}"
            infos.append(ModelInfo(family.name, family.title, "not_downloaded", family.repo.licence, (), (), note))
    return tuple(infos)


def hub_repos(name: str) -> tuple[Repo, ...]:
    """Returns what a pull of that model fetches; the first is the model itself.

    Raises:
        ModelError: the name is not a hub id.
    """
    if name == SDXL:
        presets = tuple(p.repo for p in PRESETS.values() if p.repo)
        return (SDXL_BASE, SDXL_VAE, TINY_VAE, STYLE, *presets)
    if name == "sdxl-config":
        return (SDXL_CONFIG,)
    if name in EXTRAS:
        return (EXTRAS[name],)
    if name in BY_NAME:
        return (BY_NAME[name].repo,)
    if not _HUB_ID.fullmatch(name):
        raise ModelError(
            f"'{name}' is not a model of the hub. Give 'sdxl', or a hub id: owner/name or owner/name@revision."
        )
    id, _, revision = name.partition("@")
    for family in FAMILIES.values():
        if family.repo.id == id:
            return (replace(family.repo, revision=revision or family.repo.revision),)
    return (Repo(id, revision or "main", CHECKPOINT_FILES, otherwise=("*/*.safetensors",)), SDXL_VAE, TINY_VAE)


def preset_of(model: Model, name: str) -> Preset | None:
    """Returns the preset of that name; without a name "quality" for SDXL, else None.

    Raises:
        InvalidRequest: the model has no such preset.
    """
    if not name:
        return PRESETS["quality"] if "quality" in model.presets else None
    if name not in model.presets:
        has = f"It has {', '.join(model.presets)}." if model.presets else "It has none: leave the preset out."
        raise InvalidRequest(f"'{model.id}' has no preset '{name}'. {has}")
    return PRESETS[name]


def preset_lora(model: Model, preset: Preset) -> Path | None:
    """Returns the file of the preset's LoRA, None where it needs none.

    Raises:
        ModelError: it was not pulled.
    """
    if preset.repo is None:
        return model.folder / preset.lora if preset.lora else None
    if path := cached_file(preset.repo, preset.lora):
        return path
    raise ModelError(
        f"The preset '{preset.name}' needs {preset.repo.id}, which is not on this machine. `dgx-pixels models pull "
        "sdxl` fetches it; the preset 'quality' needs no LoRA."
    )


def header(path: Path) -> Sequence[str]:
    """Returns the names of a safetensors file's tensors.

    Raises:
        ModelError: the file is broken.
    """
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if length > LONGEST_HEADER:
                raise ValueError("its header is too long")
            names = json.loads(file.read(length))
    except (ValueError, OSError, RecursionError) as error:
        raise ModelError(f"{path.name} is not a safetensors file ({_why(error)}). Download it again.") from error
    if not isinstance(names, dict):
        raise ModelError(f"{path.name} is not a safetensors file (its header is not an object). Download it again.")
    return tuple(name for name in names if name != "__metadata__")


def _why(error: Exception) -> str:
    return "its header is nested too deeply" if isinstance(error, RecursionError) else str(error)


def read_json(path: Path) -> dict[str, Any]:
    """Returns a checkpoint's JSON file.

    Raises:
        ModelError: it is missing or broken.
    """
    try:
        found = text_files.read_json(path, str(path))
    except FileNotFoundError:
        raise ModelError(
            f"{path.parent} is not a complete checkpoint: {path.name} is missing. Give the folder that holds "
            "model_index.json with unet/, vae/, text_encoder/ and text_encoder_2/ beside it, or download it again."
        ) from None
    except TextError as error:
        raise ModelError(f"{error} Or download the model again.") from error
    if not isinstance(found, dict):
        raise ModelError(f"{path} holds no JSON object, so this is not a checkpoint's. Download the model again.")
    return found


def revision_of(model: Model) -> str:
    """Returns a short fingerprint of the weights: it changes when they do.

    Of each file the name, the size and the first and last 64 KiB are read: a multiple of what tells two checkpoints
    apart, and milliseconds for 7 GB.
    """
    if model.revision:
        return model.revision
    files = [model.file] if model.file else sorted(model.folder.rglob("*.safetensors"))
    return _fingerprint(tuple((str(f), f.stat().st_size, f.stat().st_mtime_ns) for f in files))


@lru_cache(maxsize=16)
def _fingerprint(files: tuple[tuple[str, int, int], ...]) -> str:
    digest = hashlib.sha256()
    for name, size, _ in files:
        digest.update(f"{Path(name).parent.name}/{Path(name).name}:{size};".encode())
        with Path(name).open("rb") as file:
            digest.update(file.read(1 << 16))
            file.seek(max(0, size - (1 << 16)))
            digest.update(file.read(1 << 16))
    return digest.hexdigest()[:12]
