"""What the page may ask for: pydantic models of its requests, with the fields of its forms and no others."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from pipelines.choices import Motion

Text = Annotated[str, Field(max_length=4096)]
"""A path, a name or a prompt; the features check what it says."""
Id = Annotated[str, Field(max_length=64)]
Count = Annotated[int, Field(ge=1, le=16)]
Seed = Annotated[int | None, Field(ge=0, lt=2**63)]


class Ask(BaseModel):
    """Base of the requests: frozen, without unknown fields. `project` is a game's root; empty: the first game."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    project: Text = ""


class SpriteAsk(Ask):
    """Sprites of one prompt."""

    kind: Literal["sprite"]
    id: Id
    prompt: Text
    count: Count = 4
    size: int | None = None
    model: Text = ""
    seed: Seed = None
    palette: Text = ""
    preset: Text = ""
    outline: Text = ""
    loras: Text = ""

    def fields(self) -> dict[str, Any]:
        """Returns the fields that `SpriteRequest` has too."""
        return self.model_dump(include={"prompt", "size", "model", "seed", "palette", "preset", "outline"})


class AnimationAsk(Ask):
    """A sheet of motions of a sprite, drawn from a prompt or made before."""

    kind: Literal["animation"]
    id: Id
    prompt: Text = ""
    asset_id: Id = ""
    motions: tuple[Motion, ...] = ("idle", "walk")
    directions: int = 1
    size: int | None = None
    model: Text = ""
    seed: Seed = None
    palette: Text = ""

    def fields(self) -> dict[str, Any]:
        """Returns the fields of `AnimationRequest`."""
        given = self.model_dump(exclude={"kind", "id", "project"})
        if self.asset_id:  # the sprite is there: only how it moves is asked
            given = {name: given[name] for name in ("asset_id", "motions", "directions")}
        return given


class CompareAsk(Ask):
    """The same prompt and seeds with two variants, blind."""

    kind: Literal["compare"]
    id: Id
    prompt: Text
    variants: Annotated[tuple[Text, ...], Field(min_length=2, max_length=4)]
    count: Annotated[int, Field(ge=1, le=8)] = 2
    size: int | None = None
    seed: Seed = None


RunAsk = Annotated[SpriteAsk | AnimationAsk | CompareAsk, Field(discriminator="kind")]


class VoteAsk(Ask):
    """A vote: `winner` is a column's letter, or tie."""

    comparison: Id
    winner: Annotated[str, Field(max_length=16)]


class DeployAsk(Ask):
    """An asset for the game; an empty path is named by the prompt."""

    asset_id: Id
    path: Text = ""
    overwrite: bool = False


class UndoAsk(Ask):
    """A deployment to take back: that of a path, or the last one."""

    path: Text = ""
    overwrite: bool = False


class LoginAsk(BaseModel):
    """A token."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    token: Annotated[str, Field(max_length=256)]


class Nothing(BaseModel):
    """A request whose address says all."""

    model_config = ConfigDict(extra="forbid", frozen=True)
