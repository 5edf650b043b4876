"""The catalog: which models there are, where they are, what they are by default. Imports no torch and loads nothing.

A model is named by `embedded`, or by the path of a local SDXL folder in diffusers layout. `pipelines.loading` makes
components of what is named here.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from pipelines.errors import ModelError

EMBEDDED = Path(__file__).parent / "embedded" / "checkpoint"

COMPONENTS = ("unet", "vae", "text_encoder", "text_encoder_2", "tokenizer", "tokenizer_2", "scheduler")
"""The folders of a checkpoint in diffusers layout."""


@dataclass(frozen=True, slots=True)
class Model:
    """What is known of a model before it is loaded.

    `native_sizes` (pixels) are those of a model that draws single pixels, such as the embedded one; a model without
    draws canvases of `canvases` pixels that are finished down. `guided` is the part of the steps that are guided.
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
    config: Mapping[str, Any] = field(default_factory=dict, compare=False, hash=False)

    @property
    def draws_pixels(self) -> bool:
        """Whether a pixel of its canvas is a pixel of the sprite (and it draws transparency itself)."""
        return bool(self.native_sizes)


def embedded_model() -> Model:
    """The model that ships in the package."""
    return Model(
        id="embedded",
        title="Embedded pixel-art model",
        licence="CC0-1.0",
        folder=EMBEDDED,
        native_sizes=(16, 32),
        canvases=(32,),
        steps=8,
        guidance=1.5,
        note="Draws 32 and 16 px sprites from a small vocabulary, without a GPU or a download.",
    )


def find_model(name: str) -> Model:
    """The model of that id or path.

    Raises:
        ModelError: there is none, or the folder is not an SDXL checkpoint.
    """
    if name == "embedded":
        return embedded_model()
    folder = Path(name).expanduser()
    if folder.is_dir():
        return folder_model(folder.resolve())
    raise ModelError(
        f"There is no model '{name}'. Use 'embedded', or the path of a folder that holds an SDXL checkpoint in "
        "diffusers layout (it has a model_index.json). list_models shows what there is."
    )


def folder_model(folder: Path) -> Model:
    """A local checkpoint in diffusers layout.

    Raises:
        ModelError: it is not one, or not of the SDXL family.
    """
    index = read_json(folder / "model_index.json")
    if "text_encoder_2" not in index or "unet" not in index:
        raise ModelError(
            f"{folder} holds a {index.get('_class_name', 'model')}, which is not of the SDXL family. Use an SDXL "
            "checkpoint: two text encoders and a UNet."
        )
    unet, vae = read_json(folder / "unet" / "config.json"), read_json(folder / "vae" / "config.json")
    if unet.get("addition_embed_type") != "text_time":
        raise ModelError(
            f"The UNet in {folder} takes no size conditioning, so it is not SDXL's. Use an SDXL checkpoint."
        )
    scale = 2 ** (len(vae.get("block_out_channels", ())) - 1)
    canvas = int(unet.get("sample_size", 128)) * scale
    if vae.get("out_channels") == 4:
        return Model(
            id=str(folder),
            title=folder.name,
            licence="unknown",
            folder=folder,
            native_sizes=tuple(sorted({canvas // 2, canvas})),
            canvases=(canvas,),
            steps=8,
            guidance=1.5,
        )
    return Model(
        id=str(folder),
        title=folder.name,
        licence="unknown",
        folder=folder,
        canvases=(512, 768, 1024) if canvas == 1024 else (canvas,),
    )


def read_json(path: Path) -> dict[str, Any]:
    """A checkpoint's JSON file.

    Raises:
        ModelError: it is missing or broken.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ModelError(
            f"{path.parent} is not a complete checkpoint: {path.name} is missing. Give the folder that holds "
            "model_index.json with unet/, vae/, text_encoder/ and text_encoder_2/ beside it, or download it again."
        ) from None
    except ValueError as error:
        raise ModelError(f"{path} is broken ({error}). Download the model again.") from error


def revision_of(model: Model) -> str:
    """A short fingerprint of the weights: it changes when they do.

    Of each file the name, the size and the first and last 64 KiB are read: a multiple of what tells two checkpoints
    apart, and milliseconds for 7 GB.
    """
    files = sorted(model.folder.rglob("*.safetensors"))
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
