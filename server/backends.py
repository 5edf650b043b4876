"""Make what draws: diffusers in this process, or actors of a Ray cluster. Loads no model."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from pipelines.engine.backend import Backend
from server.settings import Settings

if TYPE_CHECKING:
    from loras.registry import Registry
    from server.cluster.nodes import Cluster


def join_cluster(settings: Settings, loras: Callable[[], Registry]) -> Cluster:
    """Returns the cluster that the settings name; `loras` gives the registry when a LoRA is first used.

    Raises:
        ServerError: it is not there.
    """
    from server.cluster.nodes import Cluster

    return Cluster(settings, local_backend(loras, settings))


def local_backend(loras: Callable[[], Registry], settings: Settings, fixed_rows: bool = False) -> Backend:
    """Returns what draws with diffusers in this process; `fixed_rows` as for `DiffusersBackend`."""
    from pipelines.sdxl.diffusion import DiffusersBackend

    return DiffusersBackend(
        find_lora=lambda name: loras().find(name).path,
        find_any_lora=lambda name: loras().find(name, any_family=True).path,
        float8=settings.precision == "fp8",
        fixed_rows=fixed_rows,
    )


def actor_backend(settings: Settings) -> Backend:
    """Returns what an actor draws with. Without a GPU it uses one PyTorch thread: there is an actor for each core."""
    import torch

    from loras.registry import Registry

    if not torch.cuda.is_available():
        torch.set_num_threads(1)
    registry = Registry(settings.data_dir / "loras")
    registry.watch()
    return local_backend(lambda: registry, settings, fixed_rows=True)
