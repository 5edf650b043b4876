"""Networks that go beside an SDXL model: the IP-Adapter that reads reference pictures, the ControlNet that reads lines.

Imports no torch. Sources: the model cards of the repositories.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pipelines.errors import ModelError
from pipelines.models.hub import Repo, snapshot

ADAPTER_FOLDER, ADAPTER_FILE = "sdxl_models", "ip-adapter_sdxl_vit-h.safetensors"
IMAGE_ENCODER = "models/image_encoder"
"""In h94's repository: the adapter for SDXL that reads ViT-H's embedding, and that encoder."""

IP_ADAPTER = Repo(
    "h94/IP-Adapter",
    "018e402774aeeddd60609b4ecdb7e298259dc729",
    (f"{ADAPTER_FOLDER}/{ADAPTER_FILE}", f"{IMAGE_ENCODER}/config.json", f"{IMAGE_ENCODER}/model.safetensors"),
    "apache-2.0",
)
SCRIBBLE = Repo(
    "xinsir/controlnet-scribble-sdxl-1.0", "main", ("config.json", "diffusion_pytorch_model.safetensors"), "apache-2.0"
)
EXTRAS: Mapping[str, Repo] = {"ip-adapter": IP_ADAPTER, "scribble": SCRIBBLE}
"""By the names that `models pull` takes."""


def ip_adapter() -> Path:
    """Returns the folder of the pulled IP-Adapter, in the layout of its repository.

    Raises:
        ModelError: it was not pulled.
    """
    if folder := snapshot(IP_ADAPTER):
        return folder
    raise ModelError(
        "reference= on SDXL needs an IP-Adapter, which is not on this machine. `dgx-pixels models pull ip-adapter` "
        "fetches it (3.2 GB, Apache-2.0); on model='embedded' a reference gives its palette."
    )


def scribble() -> Path | None:
    """Returns the folder of the pulled ControlNet for lines, None where it was not pulled."""
    return snapshot(SCRIBBLE)
