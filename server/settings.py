"""Settings of the person who starts the server: environment variables `DGX_PIXELS_*`, or the command line.

The settings of a game's team are in the game's `dgx-pixels.toml` (see `server.project.game`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from platformdirs import user_data_path
from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from pipelines.log import Level


class Settings(BaseSettings):
    """The server's settings. Every one has a default that works."""

    model_config = SettingsConfigDict(env_prefix="DGX_PIXELS_", env_ignore_empty=True, extra="ignore")

    project: Path | None = Field(default=None, description="The game's root, where it is not the working directory.")
    data_dir: Path = Field(
        default_factory=lambda: user_data_path("dgx-pixels", appauthor=False),
        description="Where assets go that belong to no game, and downloaded LoRAs and trained ones.",
    )
    model: str = Field(default="embedded", description="The model of a request that names none (a game's style wins).")
    preload: str = Field(
        default="auto",
        description="The model to load in the background. auto: the game's, once a client has listed the tools, where "
        "memory allows; none: on first use; a model's name: when the server starts.",
    )
    precision: Literal["fp16", "fp8"] = Field(
        default="fp16",
        description="fp8: SDXL's linear layers in 8 bits on a GPU of capability 8.9 or later: a sixth less time, "
        "pictures that differ slightly.",
    )
    results: Literal["auto", "full", "image"] = Field(
        default="auto",
        description="What a result holds. full: picture, text and structured content; image: picture and text alone, "
        "for clients that hide the picture otherwise; auto: as suits the client.",
    )
    http_host: str = Field(default="127.0.0.1", description="Address for --http; only loopback is accepted.")
    http_port: int = Field(default=8765, ge=1, le=65535, description="Port for --http.")
    log: Level = Field(default="warning", description="Which log records go to standard error: from this level on.")
    http_token: SecretStr | None = Field(
        default=None, description="What a client must send as bearer token with --http."
    )
    cluster: str = Field(
        default="", description="Draw on a Ray cluster: auto starts one on this machine, an address joins one."
    )
    actors: int = Field(
        default=0, ge=0, le=1000, description="Processes that draw in the cluster; 0: one for each GPU, else each core."
    )
