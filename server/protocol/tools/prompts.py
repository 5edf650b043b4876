"""Prompts that a user picks from a menu, and completions of their arguments."""

from __future__ import annotations

import json
from functools import cache
from typing import Annotated, Any

from fastmcp import FastMCP
from mcp_types import CompletionArgument, PromptReference, ResourceTemplateReference
from pydantic import Field

from server.studio import Studio
from server.users import Users


def register(mcp: FastMCP, studio: Studio) -> None:
    """Adds the prompts new_sprite and game_art, and completion of subjects and asset ids."""

    @mcp.prompt(title="A new sprite in the game")
    def new_sprite(
        subject: Annotated[str, Field(description="What it is: red dragon, wooden door, potion")],
        path: Annotated[str, Field(description="Where, relative to assets/; empty: the server names it")] = "",
    ) -> str:
        """Draw one thing, choose the best of four, and put it into the game."""
        where = f" as {path}" if path else ""
        return (
            f"I want a sprite of '{subject}' in my game. Call generate_sprite with count=4 and look at the four. If "
            "none is good, rephrase with plain nouns and a colour, or take another seed. Choose the best, tell me why, "
            f"and deploy_asset it{where}. Then show me how the game loads it."
        )

    @mcp.prompt(title="Art for a whole game")
    def game_art(
        theme: Annotated[str, Field(description="What the game is: a dungeon crawler, a farm")],
    ) -> str:
        """Plan and draw the sprites and tiles that a game needs, in one palette."""
        return (
            f"My game is {theme}. Call get_status to see the project and its style, and list_assets to see what is "
            "there. If dgx-pixels.toml names no palette, propose one first: everything is to share it. Then list the "
            "sprites and tiles that the game's code loads but that are missing or placeholders, agree them with me, "
            "and draw them one by one: generate_sprite, look, deploy_asset. Keep sizes and outline the same throughout."
        )

    @mcp.completion
    def complete(
        reference: PromptReference | ResourceTemplateReference, argument: CompletionArgument, _: Any
    ) -> list[str] | None:
        if argument.name == "subject":
            *said, begun = argument.value.lower().split(" ")
            return [" ".join([*said, word]) for word in _known_words() if word.startswith(begun)][:100]
        if argument.name == "asset_id":
            from server.protocol.users import for_caller

            data_dir = studio.settings.data_dir
            with for_caller(Users(data_dir), data_dir):  # the middleware of tools does not see this method
                found, _total = studio.library(studio.project()).find(limit=200)
            return [asset.id for asset in found if asset.id.startswith(argument.value)][:100]
        return None


@cache
def _known_words() -> list[str]:
    """Returns the embedded model's words, in alphabetical order; none where its files are missing."""
    from pipelines.models.catalog import embedded_model

    file = embedded_model().vocabulary
    try:
        vocabulary = json.loads(file.read_text(encoding="utf-8"))["model"]["vocab"] if file else ()
    except (OSError, ValueError, KeyError):
        return []
    return sorted(word for word in vocabulary if word.isalpha() and len(word) > 2)
