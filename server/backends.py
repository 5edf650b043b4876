"""Make what draws: diffusers in this process, or actors of a Ray cluster. Loads no model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from pipelines.engine.backend import Backend
from server.settings import Settings

if TYPE_CHECKING:
    from loras.registry import Registry


def make_backends(settings: Settings, loras: Callable[[], Registry]) -> Sequence[Backend]:
    """Returns the backends that the settings ask for; `loras` gives the registry when a LoRA is first used.

    Raises:
        ServerError: the cluster of the settings is not there.
    """
    own = local_backend(loras, settings)
    if not settings.cluster:
        return [own]
    from server.cluster.lanes import connect

    return connect(settings.cluster, settings, own, settings.actors)


def local_backend(loras: Callable[[], Registry], settings: Settings) -> Backend:
    """Returns what draws with diffusers in this process."""
    from pipelines.sdxl.diffusion import DiffusersBackend

    return DiffusersBackend(
        find_lora=lambda name: loras().find(name).path,
        find_any_lora=lambda name: loras().find(name, any_family=True).path,
        float8=settings.precision == "fp8",
    )


def actor_backend(settings: Settings) -> Backend:
    """Returns what an actor draws with. Without a GPU it uses one PyTorch thread: there is an actor for each core."""
    import torch

    from loras.registry import Registry

    if not torch.cuda.is_available():
        torch.set_num_threads(1)
    registry = Registry(settings.data_dir / "loras")
    registry.watch()
    return local_backend(lambda: registry, settings)
