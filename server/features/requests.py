"""Requests: one frozen model for each kind of thing that a user may ask for.

A tool's input schema, a command's flags, a workflow operation's arguments and a watched file's fields are made from
these models (`server.protocol.tools.flat`, cyclopts, `server.features.workflow_operations`, `server.features.watch`).

To add an option, add a field here and use it in the feature. To accept another form of a value, put a `BeforeValidator`
into the field's type, or into the type that fields share; the schema that clients see stays the same. A check of one
value is an `AfterValidator` that raises `ValueError` with a sentence for the user.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from pipelines.choices import (
    Axes,
    Border,
    Effect,
    Faces,
    FrameMethod,
    Layer,
    Layout,
    Method,
    Motion,
    Outline,
    Preset,
    Soft,
)

PROMPT_LIMIT = 2000


def one_line(text: str) -> str:
    """Replaces every run of white space by one space."""
    return " ".join(text.split())


def check_prompt(text: str) -> str:
    """Checks the prompt and puts it on one line.

    Raises:
        ValueError: it is empty or too long.
    """
    prompt = one_line(text)
    if not prompt:
        raise ValueError('The prompt is empty. Say what to draw, for example "red dragon" or "grass floor".')
    if len(prompt) > PROMPT_LIMIT:
        raise ValueError(
            f"The prompt has {len(prompt):,} characters; the most is {PROMPT_LIMIT:,}. A few words draw best."
        )
    return prompt


def split_motions(given: Any) -> Any:
    """Splits a text with commas ("idle, Walk") into a list; anything else stays."""
    listed = given.split(",") if isinstance(given, str) else given
    if not isinstance(listed, list | tuple):
        return given
    cleaned = [item.strip().lower() if isinstance(item, str) else item for item in listed]
    return [item for item in cleaned if item != ""]


def split_commas(given: Any) -> Any:
    """Splits a text with commas ("sword, red potion") into a list; anything else stays."""
    return [part.strip() for part in given.split(",") if part.strip()] if isinstance(given, str) else given


def only_ids(given: Any) -> Any:
    """Splits a text with commas into a list, and takes the asset_ids of workflow steps' results."""
    listed = split_commas(given)
    if not isinstance(listed, list | tuple):
        return listed
    return [item.get("asset_id", item) if isinstance(item, dict) else item for item in listed]


def as_options(given: Any) -> Any:
    """Writes an object ({"alpha": 8}) as the text "alpha=8"; anything else stays."""
    return ", ".join(f"{name}={value}" for name, value in given.items()) if isinstance(given, dict) else given


def joined(given: Any) -> Any:
    """Joins a list of texts by commas; anything else stays."""
    return ", ".join(map(str, given)) if isinstance(given, list | tuple) else given


def within(least: int, most: int) -> AfterValidator:
    """Checks that a number is None or from `least` to `most`."""

    def check(number: int | None) -> int | None:
        if number is not None and not least <= number <= most:
            raise ValueError(f"Give {least} to {most}.")
        return number

    return AfterValidator(check)


def or_default(default: str) -> BeforeValidator:
    """Takes an empty text as `default`."""
    return BeforeValidator(lambda given: default if isinstance(given, str) and not given.strip() else given)


PALETTE_HELP = "File, RRGGBB colours, a name such as 'pico-8', or 'none'; empty: the game's."
MODEL_HELP = "From list_models."
SEED_HELP = "Repeats a picture."
NEGATIVE_HELP = "What not to draw."

# Types that several requests share: one name and one meaning everywhere.
Prompt = Annotated[str, AfterValidator(check_prompt), Field(description="What to draw.")]
OptionalPrompt = Annotated[str, AfterValidator(lambda text: check_prompt(text) if text.strip() else "")]
AssetId = Annotated[str, Field(description="Of an earlier result.")]
Side = Annotated[int | None, Field(description="Default: the game's, else 32.")]
OneSide = int | None
Seed = Annotated[int | None, Field(description=SEED_HELP, ge=0)]
ModelName = Annotated[str, Field(description=MODEL_HELP)]
Negative = Annotated[str, Field(description=NEGATIVE_HELP)]
PaletteChoice = Annotated[
    str,
    AfterValidator(str.strip),
    Field(description=PALETTE_HELP),
]
Colors = Annotated[int | None, within(2, 64), Field(description="2 to 64, without a palette.")]
Count = Annotated[int, within(1, 16), Field(description="1 to 16.")]
Candidates = Annotated[int | None, within(1, 16), Field(description="Draw 1 to 16, keep the best.")]


Pictures = Annotated[str, BeforeValidator(joined), AfterValidator(str.strip)]


class Request(BaseModel):
    """Base of all requests: frozen, and without unknown fields.

    A command takes only required fields by position. The others are options, unless their `Field` says kw_only=False.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    @classmethod
    def __pydantic_init_subclass__(cls, **_: Any) -> None:
        for field in cls.model_fields.values():
            if field.kw_only is None:
                field.kw_only = not field.is_required()


class SpriteRequest(Request):
    """A sprite from a prompt. `width` and `height` win over `size`."""

    prompt: Prompt
    size: Side = None
    width: OneSide = None
    height: OneSide = None
    seed: Seed = None
    model: ModelName = ""
    preset: Annotated[
        Literal["", Preset],
        Field(description="turbo, guided: embedded; others: sdxl."),
    ] = ""
    negative: Negative = ""
    palette: PaletteChoice = ""
    colors: Colors = None
    outline: Annotated[Literal["", Outline], Field(description="Empty: the game's.")] = ""
    candidates: Candidates = None
    dither: Annotated[int, Field(description="0, 2, 4 or 8.")] = 0
    sketch: Annotated[str, AfterValidator(str.strip), Field(description="Begin with: file or asset_id.")] = ""
    strength: Annotated[float, Field(description="Sketch: 0.3 stays near.")] = 0.7
    reference: Annotated[Pictures, Field(description="Style: files or asset_ids.")] = ""


class TilesetRequest(Request):
    """A tileset of one or two terrains, each a prompt or the asset id of an earlier set (`<id>`, `<id>:upper`)."""

    upper: Annotated[
        str,
        AfterValidator(check_prompt),
        Field(description="Terrain on top ('grass'), or an earlier set's asset_id."),
    ]
    lower: Annotated[
        str,
        AfterValidator(one_line),
        Field(description="Terrain below ('water'), or an asset_id. Empty: transparent."),
    ] = ""
    tile_size: Annotated[int | None, Field(description="8, 16, ... 64; default: the game's, else 16.")] = None
    layout: Annotated[
        Layout,
        Field(
            description="wang16: corners (dual grid). cliffs: rock faces. blob47: all 8 neighbours. edge16: "
            "paths. platformer: side view. seamless, variations: one terrain. props: upper='tree, rock'."
        ),
    ] = "wang16"
    border: Border = "auto"
    method: Annotated[Method, Field(description="composite: painted borders; joint (wang16): softer.")] = "composite"
    axes: Annotated[Axes, Field(description="It repeats in.")] = "both"
    variants: Annotated[int, Field(description="For variations: 2 to 12.")] = 4
    reference: Pictures = ""
    seed: Seed = None
    model: ModelName = ""
    negative: Negative = ""
    palette: PaletteChoice = ""
    colors: Colors = None
    candidates: Annotated[int | None, within(1, 32), Field(description="1 to 32 to choose from.")] = None


class AnimationRequest(Request):
    """A sheet of motions of one sprite (drawn from `prompt`, or the sprite `asset_id`), or of effects.

    Of effects, `prompt` names the colour; frames and fps are 4 and 8 for a sprite, and what suits it for an effect.
    """

    prompt: Annotated[OptionalPrompt, Field(description="What to draw and animate; or give asset_id.")] = ""
    asset_id: Annotated[str, Field(description="A sprite to animate as it is.")] = ""
    effects: Annotated[
        tuple[Effect, ...],
        BeforeValidator(split_motions),
        Field(description="Instead of a sprite; prompt: their colour."),
    ] = ()
    motions: Annotated[tuple[Motion, ...], BeforeValidator(split_motions)] = ("idle", "walk")
    frames: Annotated[int | None, Field(description="Of each motion, 2 to 8; default: 4.")] = None
    directions: Annotated[int, Field(description="1, 2 (right, left) or 4 (down, up, right, left).")] = 1
    fps: Annotated[float | None, Field(description="1 to 60; default: 8.")] = None
    faces: Annotated[Faces, Field(description="Which way a side view looks.")] = "right"
    method: Annotated[
        FrameMethod, Field(description="auto; painted: up to 24 px; puppet: people from 25 px; warp.")
    ] = "auto"
    size: Side = None
    reference: Pictures = ""
    seed: Seed = None
    model: ModelName = ""
    palette: PaletteChoice = ""

    def sprite(self) -> SpriteRequest:
        """Returns the request for the sprite that is drawn and then animated: all fields that both have."""
        shared = type(self).model_fields.keys() & SpriteRequest.model_fields.keys()
        return SpriteRequest.model_validate({name: getattr(self, name) for name in shared})


class UiRequest(Request):
    """A kit of user-interface pieces in one look, with an icon for each of `icons`."""

    prompt: Annotated[
        str,
        or_default("wood"),
        AfterValidator(check_prompt),
        Field(description="Look: wood, stone, metal or paper, and a colour: 'blue stone'.", kw_only=False),
    ] = "wood"
    icons: Annotated[
        tuple[Annotated[str, AfterValidator(check_prompt)], ...],
        BeforeValidator(split_commas),
        Field(description='Things to draw: ["sword"].'),
    ] = ()
    size: Annotated[int | None, Field(description="Of a piece: 16 to 64; default: the game's.")] = None
    seed: Seed = None
    palette: PaletteChoice = ""


class EditRequest(Request):
    """One change of a sprite: draw over (prompt, strength, place), recolor, palette, transform, or width and height.

    Of a sheet, the change of `frame` is carried to all frames, or that of `picture`: a frame, the sprite, the sheet or
    its .aseprite, drawn over.
    """

    asset_id: AssetId
    prompt: Annotated[OptionalPrompt, Field(description="What to draw; empty: a variation.")] = ""
    strength: Annotated[float, Field(description="0.3 a little, 0.8 nearly all.")] = 0.5
    place: Annotated[
        str,
        AfterValidator(str.strip),
        Field(description="'hat', 'left boot', rectangles 'x,y,w,h; ...', a mask PNG."),
    ] = ""
    recolor: Annotated[
        str, AfterValidator(str.strip), Field(description="'ff0000:3f6fd0' (old:new), or 'red' with place.")
    ] = ""
    palette: Annotated[str, AfterValidator(str.strip), Field(description="Repaint in it.")] = ""
    transform: Annotated[
        str,
        AfterValidator(str.strip),
        Field(description="flip, flip_vertical, rotate_90, rotate_180, rotate_270, trim, pad:2."),
    ] = ""
    width: Annotated[int | None, Field(description="Resize.")] = None
    height: OneSide = None
    seed: Seed = None
    model: Annotated[str, Field(description="Empty: as drawn.")] = ""
    frame: Annotated[str, AfterValidator(str.strip), Field(description="Of a sheet: 'walk 0'.")] = ""
    picture: Annotated[str, AfterValidator(str.strip), Field(description="Of a sheet: redrawn by hand.")] = ""


class FixRequest(Request):
    """A picture that should be pixel art: a file, or an asset."""

    picture: Annotated[str, Field(description="A picture or Aseprite file, or an asset_id.")]
    width: Annotated[int | None, Field(description="Finished width.")] = None
    height: OneSide = None
    pitch: Annotated[float | None, Field(description="File pixels per real pixel.")] = None
    colors: Annotated[int | None, Field(description="Most; default: all exact ones, else 32.")] = None
    palette: PaletteChoice = ""
    background: Annotated[
        str,
        or_default("keep"),
        AfterValidator(str.strip),
        Field(description="keep, clear (a flat one outside), or its RRGGBB (inside too)."),
    ] = "keep"
    outline: Annotated[Outline, or_default("none")] = "none"
    soft: Annotated[Soft, or_default("keep"), Field(description="For half-transparent pixels.")] = "keep"


class SliceRequest(Request):
    """A sheet to be cut: a file (PNG, GIF, WebP, .aseprite), or an asset. Without sizes its layout file or its gutters
    say where."""

    picture: Annotated[str, Field(description="Path of the sheet, or an asset_id.")]
    into: Annotated[
        Literal["sprites", "animation", "layers"],
        or_default("sprites"),
        Field(description="sprites: an asset each; animation: one sheet; layers: of an .aseprite, apart."),
    ] = "sprites"
    width: Annotated[int | None, within(1, 4096), Field(description="Of a tile.")] = None
    height: Annotated[int | None, within(1, 4096), Field(description="Default: as the width.")] = None
    gap: Annotated[int | None, within(0, 256), Field(description="Pixels between tiles.")] = None
    margin: Annotated[int | None, within(0, 256), Field(description="Pixels around all.")] = None
    layout: Annotated[
        str,
        AfterValidator(str.strip),
        Field(description="Layout file; default: the one beside it."),
    ] = ""
    fps: Annotated[float, Field(description="Where the file does not say.", ge=1, le=60)] = 8.0


class PackRequest(Request):
    """Sprites and sheets that become one atlas."""

    asset_ids: Annotated[tuple[str, ...], BeforeValidator(only_ids)]
    layers: Annotated[tuple[Layer, ...], BeforeValidator(split_motions)] = ()
    teams: Annotated[
        tuple[str, ...], BeforeValidator(split_commas), Field(description="Colours of recoloured copies.")
    ] = ()
    power_of_two: bool = False


class DeployRequest(Request):
    """An asset to be written into the game's assets folder. `server.deploy.deploy.deploy_request` carries it out."""

    asset_id: AssetId
    path: Annotated[
        str, Field(description="In assets/: 'sprites/hero.png'; empty: named by the prompt.", kw_only=False)
    ] = ""
    overwrite: Annotated[bool, Field(description="Replace what differs.")] = False
    verify: Annotated[bool, Field(description="Ask the running game.")] = True


class CompareRequest(Request):
    """Prompts to be drawn with each variant and each seed."""

    prompts: Annotated[
        tuple[Annotated[str, AfterValidator(check_prompt)], ...],
        Field(description="1 to 8 things to draw."),
    ]
    variants: Annotated[
        tuple[str, ...],
        Field(
            description="2 to 8 of 'model + lora@weight + ...': ['embedded', 'embedded + mygame@0.8']; an empty "
            "model is the game's: '' or '+ mygame'."
        ),
    ]
    count: Annotated[int, Field(description="Seeds for each prompt, 1 to 8.")] = 2
    seed: Seed = None
    size: OneSide = None
    blind: Annotated[bool, Field(description="Call the variants A, B, ...")] = True


class TrainRequest(Request):
    """A LoRA to be trained. The fields that `loras.options.TrainOptions` has too replace what suits the model."""

    dataset: Annotated[str, Field(description="Folder of sprites or one sheet; empty: the game's assets.")] = ""
    name: Annotated[str, Field(description="Of the LoRA; empty: the game's.")] = ""
    trigger: Annotated[str, AfterValidator(one_line), Field(description="Word for the style (SDXL).")] = ""
    model: Annotated[str, Field(description="From list_models; empty: the game's.")] = ""
    steps: int | None = None
    rank: Annotated[int | None, Field(description="4 to 64; default: 16.")] = None
    rate: Annotated[float | None, Field(description="Learning rate.")] = None
    resolution: Annotated[int | None, Field(description="SDXL: 512, 768 or 1024.")] = None
    tile_size: Annotated[int | None, Field(description="Of a sheet's tiles, in pixels.")] = None
    prompts: Annotated[tuple[str, ...] | None, Field(description="To draw samples of.")] = None
    options: Annotated[str, BeforeValidator(as_options), Field(description="docs/lora.md: 'alpha=8'.")] = ""
