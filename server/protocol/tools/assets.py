"""The tools deploy_asset, undo_deploy and list_assets, and the resources of assets."""

from __future__ import annotations

from typing import Annotated, Literal

from fastmcp import Context, FastMCP
from fastmcp.apps import AppConfig
from fastmcp.tools import ToolResult
from mcp.shared.exceptions import MCPError
from mcp_types import INVALID_PARAMS
from pydantic import BaseModel, Field

from pipelines.choices import Kind
from server.deploy import deploy as deploying
from server.errors import ServerError
from server.features.comparisons.compare import Comparisons
from server.features.requests import DeployRequest
from server.library.records import Asset
from server.library.store import Library
from server.protocol.tools.common import (
    OnProgress,
    ProjectArgument,
    changes,
    in_thread,
    reads,
    result,
    schema,
)
from server.protocol.tools.flat import flat
from server.studio import Studio

GALLERY_VIEW = "ui://dgx-pixels/gallery.html"
"""The results page as an MCP App: a client that shows apps renders it beside the answer of list_assets."""


class DeployAnswer(BaseModel):
    """What deploy_asset and undo_deploy answer."""

    state: str = Field(description="written, replaced, identical (nothing to do) or undone")
    asset_id: str = ""
    path: str = Field(description="The picture, relative to assets/: what the game loads")
    paths: list[str] = Field(description="All files, absolute")
    project: str
    verification: str = Field(description="The running game's answer: reloaded, deployed_not_loaded_by_game, ...")
    note: str = ""
    seconds: float = 0.0
    next_step: str = ""


class AssetItem(BaseModel):
    """One line of list_assets."""

    asset_id: str
    kind: str
    prompt: str
    width: int
    height: int
    seed: int
    model: str
    uri: str
    paths: list[str]
    deployed: list[str] = Field(default_factory=list, description="Where it is in assets/")


class AssetList(BaseModel):
    """What list_assets answers."""

    assets: list[AssetItem]
    total: int
    next_step: str = ""


def register(mcp: FastMCP, studio: Studio) -> None:
    """Adds deploy_asset, undo_deploy, list_assets, sprite:// and gallery://index."""

    @mcp.tool(title="Deploy asset", output_schema=schema(DeployAnswer), annotations=changes(), tags={"deploy"})
    @flat
    async def deploy_asset(request: DeployRequest, ctx: Context, project: ProjectArgument = "") -> ToolResult:
        """Use when a sprite, spritesheet or tileset is good: writes it into the game's assets/ folder.
        The answer says what a running game made of it. Other files are replaced only with overwrite=true;
        undo_deploy brings them back.
        Example: deploy_asset(asset_id="3f2a9c01b7de", path="sprites/hero.png")"""

        def work(on_progress: OnProgress) -> ToolResult:
            on_progress(0, 1, "deploying")
            return _answer(deploying.deploy_request(studio, request, project or None))

        return await in_thread(ctx, work)

    @mcp.tool(title="Undo deploy", output_schema=schema(DeployAnswer), annotations=changes(), tags={"deploy"})
    async def undo_deploy(
        ctx: Context,
        path: Annotated[str, Field(description="The deployed picture; empty: the last.")] = "",
        project: ProjectArgument = "",
        overwrite: Annotated[bool, Field(description="Although changed since.")] = False,
    ) -> ToolResult:
        """Use when a deployed file is not wanted after all: takes the last deployment back (of `path` where given).
        The earlier bytes return, a new file goes away. Call it again to go further back.
        Example: undo_deploy(path="sprites/hero.png")"""

        def work(on_progress: OnProgress) -> ToolResult:
            on_progress(0, 1, "undoing")
            return _answer(deploying.undo(studio, path, project or None, overwrite=overwrite))

        return await in_thread(ctx, work)

    @mcp.tool(
        title="List assets",
        output_schema=schema(AssetList),
        annotations=reads(),
        tags={"library"},
        app=AppConfig(resource_uri=GALLERY_VIEW),
    )
    async def list_assets(
        ctx: Context,
        words: Annotated[str, Field(description="In the prompt, or an id.")] = "",
        kind: Literal["", Kind] = "",
        limit: Annotated[int, Field(ge=1, le=200)] = 50,
        offset: Annotated[int, Field(ge=0)] = 0,
        project: ProjectArgument = "",
    ) -> ToolResult:
        """Use when you need an earlier picture's asset_id or path: lists the art made for this game, newest first.
        Example: list_assets(words="dragon", kind="sprite")"""

        def work(_: OnProgress) -> ToolResult:
            game = studio.project(project or None)
            library = studio.library(game)
            assets, total = library.find(words, kind, limit, offset)
            deployed: dict[str, list[str]] = {}
            for entry in studio.deployments(game, [a.id for a in assets], limit=1000) if assets else ():
                deployed.setdefault(entry.asset_id, []).append(entry.path)
            veiled = Comparisons(library).veiled()
            items = [_item(library, asset, deployed.get(asset.id, []), asset.id in veiled) for asset in assets]
            more = total - offset - len(items)
            step = f"{more} more: offset={offset + limit}." if more > 0 else ""
            if not total:
                step = "Nothing here yet: generate_sprite draws something."
            return result(AssetList(assets=items, total=total, next_step=step))

        return await in_thread(ctx, work)

    @mcp.resource("sprite://{asset_id}", name="sprite", title="A sprite's PNG", mime_type="image/png")
    def sprite(asset_id: str) -> bytes:
        """The PNG of an asset, by its asset_id."""
        try:
            library, asset = studio.find_asset(asset_id, studio.project())
            return library.read(asset)
        except ServerError as error:
            raise MCPError(code=INVALID_PARAMS, message=str(error)) from error

    @mcp.resource(GALLERY_VIEW, name="gallery_view", title="The results page", app=AppConfig(prefers_border=True))
    def gallery_view() -> str:
        """The results page with the game's library inside, for clients that show MCP Apps."""
        from server.gallery.build import gallery_page

        game = studio.project()
        return gallery_page(studio.library(game), game.name if game else "", links=False)

    @mcp.resource("gallery://index", name="gallery", title="What was made for this game", mime_type="application/json")
    def gallery() -> str:
        """The newest 200 assets as JSON: asset_id, kind, prompt, size, uri, path."""
        import json

        library = studio.library(studio.project())
        assets, total = library.find(limit=200)
        return json.dumps(
            {
                "total": total,
                "assets": [
                    {
                        "asset_id": asset.id,
                        "kind": asset.kind,
                        "prompt": asset.recipe.prompt,
                        "width": asset.recipe.width,
                        "height": asset.recipe.height,
                        "uri": asset.uri,
                        "path": str(library.path(asset)),
                    }
                    for asset in assets
                ],
            }
        )


def _item(library: Library, asset: Asset, deployed: list[str], veiled: bool) -> AssetItem:
    recipe = asset.recipe
    return AssetItem(
        asset_id=asset.id,
        kind=asset.kind,
        prompt=recipe.prompt,
        width=recipe.width,
        height=recipe.height,
        seed=recipe.seed,
        model="shown after the vote" if veiled else recipe.model,
        uri=asset.uri,
        paths=[str(library.path(asset, file.name)) for file in asset.files],
        deployed=deployed,
    )


def _answer(done: deploying.Deployed) -> ToolResult:
    from server.deploy.bevy.closeup import with_closeup

    paths = [done.project.shown(path) for path in done.paths]
    answer = DeployAnswer(
        state=done.state,
        asset_id=done.asset_id,
        path=done.paths[0],
        paths=paths,
        project=done.project.title,
        verification=done.verification.state,
        note=done.verification.note,
        seconds=round(done.seconds, 3),
        next_step=_next_step(done),
    )
    return result(answer, preview=with_closeup(done.verification.screenshot, done.files))


def _next_step(done: deploying.Deployed) -> str:
    from server.deploy.bevy.detect import detect
    from server.deploy.bevy.snippets import load_line

    if done.state == "undone":
        return ""
    match done.verification.state:
        case "reloaded":
            return "The game shows it. undo_deploy takes it back."
        case "reload_failed":
            return "Read the note; undo_deploy brings the earlier file back."
        case _:
            line = load_line(done.files, detect(done.project).minor)
            return f"Load it in the game: {line} undo_deploy takes it back."
