"""The tools list_models and get_status."""

from __future__ import annotations

from typing import Any

from fastmcp import Context, FastMCP
from fastmcp.tools import ToolResult
from pydantic import BaseModel, Field

from server.features.status import lora_list, model_list, status
from server.protocol.tools.common import OnProgress, ProjectArgument, in_thread, reads, result, schema
from server.studio import Studio


class ModelItem(BaseModel):
    """One line of list_models."""

    id: str = Field(description="What to give as `model`")
    title: str
    state: str = Field(description="resident, available (on disk), not_downloaded or broken")
    licence: str
    native_sizes: list[int] = []
    presets: list[str] = []
    note: str = ""
    commit: str = Field(default="", description="Of a model from the hub: what it stays at until it is pulled again")


class LoraItem(BaseModel):
    """One LoRA: a file in the user's LoRA folder, downloaded or trained here."""

    name: str
    state: str = Field(description="available, broken, or other_model (base names its family); note says why")
    note: str = ""
    base: str = Field(default="", description="The model that it was made for")
    trigger: str = ""
    rank: int = 0
    licence: str = ""


class ModelList(BaseModel):
    """What list_models answers."""

    models: list[ModelItem]
    loras: list[LoraItem] = []
    lora_folder: str = Field(default="", description="A .safetensors file that is put here is usable immediately")
    default: str


class StatusAnswer(BaseModel):
    """What get_status answers."""

    version: str
    engine: dict[str, Any] = Field(
        description="state: asleep (nothing was drawn yet), idle, busy; device, queue, counts"
    )
    project: dict[str, Any] = Field(description="The game: root, assets, style; empty: none was found")
    library: dict[str, Any] = Field(description="Where the assets are, and how many")
    deployments: list[dict[str, Any]] = Field(description="The last ones that can be undone, newest first")
    next_step: str = ""


def register(mcp: FastMCP, studio: Studio) -> None:
    """Adds list_models and get_status."""

    @mcp.tool(title="List models", output_schema=schema(ModelList), annotations=reads(), tags={"status"})
    async def list_models(ctx: Context, project: ProjectArgument = "") -> ToolResult:
        """Use when you want to know which models and LoRAs can draw, their sizes and licences. Loads none.
        Example: list_models()"""

        def work(_: OnProgress) -> ToolResult:
            models, default = model_list(studio, project or None)
            answer = ModelList(
                models=[ModelItem(**model) for model in models],
                loras=[LoraItem(**lora) for lora in lora_list(studio)],
                lora_folder=str(studio.loras.folder),
                default=default,
            )
            return result(answer)

        return await in_thread(ctx, work)

    @mcp.tool(title="Get status", output_schema=schema(StatusAnswer), annotations=reads(), tags={"status"})
    async def get_status(ctx: Context, project: ProjectArgument = "") -> ToolResult:
        """Use when something is slow or fails, or to see which game is meant: engine, game, style, last deployments.
        Example: get_status()"""

        def work(_: OnProgress) -> ToolResult:
            return result(StatusAnswer(**status(studio, project or None)))

        return await in_thread(ctx, work)
