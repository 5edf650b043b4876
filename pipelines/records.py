"""Records that travel between layers: requests, results, and the recipe that makes a picture again.

Everything is frozen; arrays inside are never written to. Imports no torch.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

from pipelines.errors import InvalidRequest

if TYPE_CHECKING:  # the server answers `initialize` before numpy is loaded
    import numpy as np
    from numpy.typing import NDArray

RECIPE_VERSION = 1
"""Version of the Recipe form that is written into files."""

OnProgress = Callable[[int, int, str], None]
"""(done, total, message). Called in the thread that asked: after every step, and at least ten times a second while
waiting. Raising from it cancels the work: the device is free again within one step."""

Pixels: TypeAlias = "NDArray[np.uint8]"
"""A picture: (height, width, 4) RGBA, straight alpha."""


def no_progress(done: int, total: int, message: str) -> None:
    """Does nothing (an OnProgress)."""


@dataclass(frozen=True, slots=True)
class LoraWeight:
    """One adapter of a stack: its name in the registry (or a path) and its weight, usually 0..1.5."""

    name: str
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class Recipe:
    """Everything that makes an asset again. Same recipe, same device, same batch: same bytes.

    It is stored in the PNG (iTXt chunk `dgx-pixels`) and in the library. `width` and `height` are the finished size in
    pixels. `palette` is the locked palette as RRGGBB words, empty when `colors` colours are extracted. `options` holds
    what only one kind of asset has (layout, frames, ...), as JSON values.
    """

    kind: str
    prompt: str
    width: int
    height: int
    seed: int
    negative: str = ""
    model: str = "embedded"
    revision: str = ""
    loras: tuple[LoraWeight, ...] = ()
    preset: str = ""
    steps: int = 0
    guidance: float = 0.0
    palette: tuple[str, ...] = ()
    colors: int = 16
    outline: str = "none"
    candidates: int = 1
    options: dict[str, Any] = field(default_factory=dict)
    version: int = RECIPE_VERSION

    def to_json(self) -> str:
        """Returns the recipe as one line of JSON with sorted keys. The text is stable, because it is hashed."""
        return json.dumps(dataclasses.asdict(self), sort_keys=True, ensure_ascii=False, separators=(",", ":"))

    @staticmethod
    def from_json(text: str) -> Recipe:
        """Reads a recipe that `to_json` wrote.

        Raises:
            InvalidRequest: the text is not a recipe, or a recipe of a later version.
        """
        try:
            data = json.loads(text)
            if data.get("version", 0) > RECIPE_VERSION:
                raise InvalidRequest(
                    f"This recipe was written by a newer dgx-pixels (form {data['version']}). Update dgx-pixels first."
                )
            data["loras"] = tuple(LoraWeight(**lora) for lora in data.get("loras", ()))
            data["palette"] = tuple(data.get("palette", ()))
            return Recipe(**data)
        except (ValueError, TypeError, AttributeError, KeyError) as error:
            raise InvalidRequest(f"This is not a dgx-pixels recipe: {error}") from error


@dataclass(frozen=True, slots=True)
class Region:
    """A second prompt for a part of each picture. Predictions are blended by `weight` at every step.

    `weight`: float32 (batch, height, width) in 0..1, canvas pixels; 0 is the main prompt, 1 is this one.
    """

    prompt: str
    weight: NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class DrawRequest:
    """One batch of pictures for a Backend. Sizes are canvas pixels: what the model draws, before finishing.

    `None` means the model's own default. `init` (one RGBA picture an image) with `strength` in 0..1 is image-to-image;
    `mask` (bool, (height, width), True = is drawn) makes it inpainting. `tile_x`, `tile_y` make the picture wrap.
    `references` are 1 to 4 RGBA pictures of any size whose style is taken. With
    `lines` the drawing is held to the lines of `init` by a ControlNet.
    `native` is SDXL's original-size conditioning in pixels. `couple` is called after every step with the latents
    (batch, channels, h, w), the step's index and the number of steps, and returns the latents to go on with.
    `bare_prompts`: each prompt without the parts that it names, '' where it names none; a backend fills them in.
    """

    model: str
    prompts: tuple[str, ...]
    seeds: tuple[int, ...]
    width: int
    height: int
    negative: str = ""
    native: int | None = None
    preset: str = ""
    steps: int | None = None
    guidance: float | None = None
    loras: tuple[LoraWeight, ...] = ()
    init: tuple[Pixels, ...] = ()
    strength: float = 1.0
    mask: tuple[NDArray[np.bool_], ...] = ()
    tile_x: bool = False
    tile_y: bool = False
    region: Region | None = None
    references: tuple[Pixels, ...] = ()
    lines: bool = False
    couple: Callable[[Any, int, int], Any] | None = None
    bare_prompts: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.prompts or len(self.prompts) != len(self.seeds):
            raise InvalidRequest("A batch needs one seed for each prompt, and at least one.")
        if self.lines and not self.init:
            raise InvalidRequest("lines are those of a picture to begin with: give init too.")


@dataclass(frozen=True, slots=True, eq=False)
class Drawing:
    """What a Backend drew: one RGBA canvas a prompt, and the values that it settled on.

    `precision`: "fp8" where linear layers were multiplied in 8 bits.
    """

    images: tuple[Pixels, ...]
    model: str
    revision: str
    steps: int
    guidance: float
    seconds: float
    device: str
    unknown_words: tuple[str, ...] = ()
    preset: str = ""
    precision: str = ""


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """One line of `list_models`. `state`: resident, available (on disk), not_downloaded or broken.

    `commit`: 40 hex digits, the commit of the hub that a pulled model stays at; empty for other models.
    """

    id: str
    title: str
    state: str
    licence: str
    native_sizes: tuple[int, ...] = ()
    presets: tuple[str, ...] = ()
    note: str = ""
    commit: str = ""
