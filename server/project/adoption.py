"""Make a variant the game's default: set `model` and `loras` in `dgx-pixels.toml`, leave the rest as it stands.

The file belongs to the game's team: comments, order, encoding and line ends stay (tomlkit). The result is read back and
compared before it replaces the old file.
"""

from __future__ import annotations

import json
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.errors import TextError, explain
from pipelines.files import TEXT_LIMIT, read_bytes
from pipelines.text_files import decode_text, encode_like
from server.errors import ProjectError
from server.library.files import write_atomically
from server.project.game import Project, local_weights
from server.project.style import STYLE_FILE

if TYPE_CHECKING:
    from server.features.comparisons.compare import Variant


def adopt(project: Project, variant: Variant) -> Path:
    """Writes the variant into the game's style and returns the file. Paths inside the game become relative to its root.

    Raises:
        ProjectError: the file cannot be read or written, is not TOML, or is on another machine; or a path of the
            variant is outside the game.
    """
    if project.elsewhere:
        stack = [f"{{ name = {json.dumps(lora.name)}, weight = {lora.weight} }}" for lora in variant.loras]
        raise ProjectError(
            f"The {STYLE_FILE} of {project.elsewhere.name} lies on another machine. Write there: "
            f"model = {json.dumps(variant.model)}; loras = [{', '.join(stack)}]"
        )
    path = project.root / STYLE_FILE
    names = tuple(lora.name for lora in variant.loras)
    model, names = local_weights(project.root, variant.model, names, "The winner")
    stack = tuple(
        replace(lora, name=_relative(project.root, name)) for lora, name in zip(variant.loras, names, strict=True)
    )
    variant = replace(variant, model=_relative(project.root, model), loras=stack)
    try:
        original = read_bytes(path, TEXT_LIMIT) if path.exists() else b""
        before = decode_text(original, str(path))
        after = _with(before, variant, path)
        write_atomically(path, encode_like(after, original))
    except TextError as error:
        raise ProjectError(str(error)) from error
    except OSError as error:
        raise ProjectError(explain(error, path)) from error
    return path


def _relative(root: Path, name: str) -> str:
    """Returns a path as the style file holds it, other names as they are."""
    return f"./{Path(name).relative_to(root).as_posix()}" if Path(name).is_absolute() else name


def _with(text: str, variant: Variant, path: Path) -> str:
    """Returns the style's text with the variant's model and LoRA stack."""
    import tomlkit
    from tomlkit.exceptions import TOMLKitError

    stack = [{"name": lora.name, "weight": lora.weight} for lora in variant.loras]
    lines = tomlkit.parse(
        "loras = [" + ", ".join(f"{{ name = {json.dumps(x['name'])}, weight = {x['weight']} }}" for x in stack) + "]\n"
    )
    try:
        wanted: dict[str, Any] = tomllib.loads(text) | {"model": variant.model, "loras": stack}
        document = tomlkit.parse(text)
        document["model"] = variant.model
        document.pop("loras", None)
        if stack:
            document["loras"] = lines["loras"]
        else:
            wanted.pop("loras")
        after = tomlkit.dumps(document)
        if tomllib.loads(after) == wanted:
            return after
    except (ValueError, RecursionError, TOMLKitError) as error:
        raise ProjectError(f"{path} is not TOML: {error}. Correct that line and ask again.") from error
    raise ProjectError(
        f"{path} has a form that cannot be changed safely. Write these lines at its top yourself: "
        f"model = {json.dumps(variant.model)}" + (f"; {tomlkit.dumps(lines).strip()}" if stack else "")
    )
