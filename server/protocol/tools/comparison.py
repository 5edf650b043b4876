"""The tools compare_models and record_preference."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

from fastmcp import Context, FastMCP
from fastmcp.tools import ToolResult
from pydantic import BaseModel, Field

from server.features.comparisons.compare import (
    Comparison,
    Comparisons,
    picture_path,
    winner_index,
)
from server.features.comparisons.compare import compare_models as compare
from server.features.lora_bases import base_warnings
from server.features.requests import CompareRequest
from server.project.game import Project
from server.protocol.tools.common import OnProgress, ProjectArgument, ToolError, in_thread, makes, result, schema
from server.protocol.tools.flat import flat
from server.studio import Studio


class Place(BaseModel):
    """A variant's place in the ranking of all votes (Bradley-Terry)."""

    key: str
    strength: float = Field(description="Log-odds against the average variant; low and high are its 95 % interval")
    low: float
    high: float
    share: float = Field(description="How often it would be preferred to the average one, 0..1")
    won: float
    pairs: int


class CompareAnswer(BaseModel):
    """What compare_models and record_preference answer."""

    comparison_id: str
    variants: dict[str, str] = Field(description="Letter -> variant; '?' while the comparison is blind")
    prompts: list[str]
    seeds: list[int]
    assets: dict[str, list[list[str]]] = Field(description="Letter -> asset_ids[prompt][seed]")
    picture: str = Field(description="The picture with labels, a PNG")
    page: str = Field(default="", description="The results page: dgx-pixels gallery --serve takes votes there")
    votes: dict[str, str] = Field(default={}, description="Prompt -> the letter that won, or tie")
    ranking: list[Place] = []
    adopted: str = Field(default="", description="The style file that was changed")
    warnings: list[str] = []
    next_step: str = ""


def register(mcp: FastMCP, studio: Studio) -> None:
    """Adds compare_models and record_preference."""

    @mcp.tool(title="Compare models", output_schema=schema(CompareAnswer), annotations=makes(), tags={"compare"})
    @flat
    async def compare_models(request: CompareRequest, ctx: Context, project: ProjectArgument = "") -> ToolResult:
        """Use when it is open which model or LoRA draws better for this game: shows them side by side.
        Columns share prompts and seeds and are blind (A, B, ...): show the picture, ask which column is best, and give
        the answer to record_preference.
        Example: compare_models(prompts=["red dragon"], variants=["", "+ mygame"])"""

        def work(on_progress: OnProgress) -> ToolResult:
            game = studio.project(project or None)
            done = compare(studio, request, on_progress, project=project or None)
            step = (
                f"Which column is best? record_preference(comparison_id='{done.id}', winner='A'), also for one prompt "
                "alone (prompt=1); then it says which is which."
            )
            return _answer(studio, game, done, step)

        return await in_thread(ctx, work)

    @mcp.tool(
        title="Record preference",
        output_schema=schema(CompareAnswer),
        annotations=makes(idempotent=True),
        tags={"compare"},
    )
    async def record_preference(
        comparison_id: Annotated[str, Field(description="What compare_models answered.")],
        winner: Annotated[str, Field(description="A, B, ..., or tie.")],
        ctx: Context,
        prompt: Annotated[int | None, Field(description="Number of the prompt; none: all.", ge=1)] = None,
        adopt: Annotated[bool, Field(description="Write the winner into dgx-pixels.toml.")] = False,
        project: ProjectArgument = "",
    ) -> ToolResult:
        """Use when somebody has said which column of a comparison is better: keeps the vote and ranks the variants.
        With adopt=true (only when the user wants that) the winner becomes the game's default.
        Example: record_preference(comparison_id="3f2a9c01b7de", winner="A")"""

        def work(on_progress: OnProgress) -> ToolResult:
            game = studio.project(project or None)
            kept = Comparisons(studio.library(game))
            index = winner_index(kept.get(comparison_id), winner)
            if adopt and index < 0:
                raise ToolError("A tie has no winner to adopt. Vote for one, or leave adopt out.")
            owner = studio.require_project(project or None) if adopt else None
            done = kept.vote(comparison_id, winner, None if prompt is None else prompt - 1)
            adopted = ""
            if owner is not None:
                from server.project.adoption import adopt as adopting

                adopted = str(adopting(owner, done.variants[index]))
            step = (
                f"New sprites of {owner.name} are drawn with it."
                if owner
                else "adopt=true makes the winner the default."
            )
            return _answer(studio, game, done, step, adopted)

        return await in_thread(ctx, work)


def _answer(studio: Studio, game: Project | None, done: Comparison, step: str, adopted: str = "") -> ToolResult:
    from server.features.comparisons.view import all_entries, write_picture
    from server.gallery.build import write_gallery

    library = studio.library(game)
    kept = Comparisons(library)
    drawn = [asset_id for rows in done.cells for row in rows for asset_id in row]
    png = write_picture(library, done)
    page = write_gallery(library, game.name if game else "", all_entries(library))
    shown = ["?"] * len(done.variants) if done.blind and not done.votes else [v.key for v in done.variants]
    answer = CompareAnswer(
        comparison_id=done.id,
        variants=dict(zip(done.letters, shown, strict=True)),
        prompts=list(done.prompts),
        seeds=list(done.seeds),
        assets={letter: [list(r) for r in rows] for letter, rows in zip(done.letters, done.cells, strict=True)},
        picture=str(picture_path(library, done)),
        page=str(page),
        votes={done.prompts[p]: done.letters[w] if w >= 0 else "tie" for p, w in sorted(done.votes.items())},
        ranking=[Place(**asdict(place)) for place in kept.ranking()],
        adopted=adopted,
        warnings=base_warnings(*(asset.recipe for asset in library.get_many(drawn).values())),
        next_step=step,
    )
    return result(answer, preview=png)
