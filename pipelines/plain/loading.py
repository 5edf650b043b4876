"""Load a pipeline of a known class from a folder: safetensors alone, and no code from the folder."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError

from pipelines.errors import ModelError
from pipelines.models.catalog import Model, read_json
from pipelines.models.families import FAMILIES

LIBRARIES = ("diffusers", "transformers")
"""Where the classes of a pipeline's components may come from."""
PICKLES = (".bin", ".ckpt", ".pt", ".pth", ".pkl")


def load_pipeline(model: Model, device: torch.device, dtype: torch.dtype, *, whole_files: bool = False) -> Any:
    """Loads the pipeline of the model's family onto `device`.

    Args:
        whole_files: read the weights instead of mapping the files, as unified memory needs it.

    Raises:
        ModelError: a component is missing, a pickle, or of a class of another library.
    """
    check_components(model.folder)
    family = FAMILIES[model.family]
    kind = getattr(importlib.import_module(family.module), family.pipeline)
    try:
        pipeline = kind.from_pretrained(
            model.folder,
            dtype=dtype,
            use_safetensors=True,
            local_files_only=True,
            disable_mmap=whole_files,
        )
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
        lines = str(error).splitlines() or [type(error).__name__]
        raise ModelError(f"'{model.id}' cannot be loaded: {lines[0]}. Download the model again.") from error
    pipeline.set_progress_bar_config(disable=True)
    return pipeline.to(device)


def check_components(folder: Path) -> None:
    """Looks at a pipeline's folder before anything in it is loaded.

    Raises:
        ModelError: a component of a library that is not LIBRARIES, whose code would come from the folder; or one whose
            weights are a pickle.
    """
    for name, value in read_json(folder / "model_index.json").items():
        if name.startswith("_") or not isinstance(value, list) or value == [None, None]:
            continue
        if len(value) != 2 or value[0] not in LIBRARIES:
            raise ModelError(
                f"{folder.name} names code of its own for '{name}', which is not run. Use the model as its publisher "
                "made it for diffusers."
            )
        files = list((folder / name).glob("*")) if (folder / name).is_dir() else []
        pickles = [file.name for file in files if file.suffix in PICKLES]
        if pickles and not any(file.suffix == ".safetensors" for file in files):
            raise ModelError(
                f"{folder / name} holds its weights as a pickle ({pickles[0]}), which can run any code when it is "
                "opened, so it is not read. Use a model in safetensors."
            )


def pipeline_bytes(model: Model, dtype: torch.dtype) -> int:
    """Estimates the bytes of the weights from the sizes of the files, which hold half precision."""
    size = sum(file.stat().st_size for file in model.folder.glob("*/*.safetensors"))
    return size * (2 if dtype == torch.float32 else 1)
