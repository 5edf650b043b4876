"""Join a Ray cluster, and keep an actor for each of its GPUs, or for each core where it has none.

Ray's own usage reports and dashboard stay off. A node that joins gets actors, and what a node that leaves took with it
is not waited for. A training takes the place of an actor until it ends. API: Ray 2.60, `ray.init`,
`ray.cluster_resources`.
"""

from __future__ import annotations

import logging
import os
import threading
from pathlib import Path
from typing import Any

from loras.jobs import queue, start_here, this_process
from pipelines.engine.backend import Backend
from pipelines.engine.engine import Engine
from server.cluster.lanes import REAL, RayLane
from server.cluster.training import train
from server.errors import ServerError
from server.settings import Settings

logger = logging.getLogger(__name__)

LOOK_SECONDS = 2.0
"""Seconds between two looks at the cluster's nodes."""


class Cluster:
    """The cluster that this process draws on."""

    def __init__(self, settings: Settings, catalog: Backend, backend: str = REAL) -> None:
        """Joins the cluster at `settings.cluster`, or starts one on this machine for "auto".

        Raises:
            ServerError: Ray is not installed, does not start, or there is no cluster at the address.
        """
        self._ray = join(settings.cluster)
        self._settings, self._catalog, self._backend = settings, catalog, backend
        self._gpus = int(self._ray.cluster_resources().get("GPU", 0)) > 0
        self._place = {"num_gpus": 1, "num_cpus": 0} if self._gpus else {"num_cpus": 1}
        self._trainings: list[Any] = []

    def lane(self) -> RayLane:
        """Starts an actor."""
        return RayLane(self._settings, self._catalog, self._place, self._backend)

    @property
    def places(self) -> int:
        """GPUs of the cluster now, or cores where it began without GPUs."""
        return max(1, int(self._ray.cluster_resources().get("GPU" if self._gpus else "CPU", 0)))

    @property
    def actors(self) -> int:
        """How many actors there should be now: one for each place that no training has, but at least one."""
        if self._trainings:
            _, self._trainings = self._ray.wait(self._trainings, num_returns=len(self._trainings), timeout=0)
        free = max(1, self.places - len(self._trainings))
        return min(self._settings.actors, free) if self._settings.actors else free

    def start_training(self, folder: Path) -> None:
        """Starts or resumes the job of a folder on a place of its own; an actor gives its place up for it.

        Where the cluster has one place alone, the job is a process of the server's machine, as without a cluster.
        """
        if self.places < 2:
            start_here(folder)
            return
        queue(folder, this_process(), "Waiting for a place in the cluster.")  # until the task says more
        task = self._ray.remote(max_retries=0, max_calls=1, **self._place)(train)
        self._trainings = [*self._trainings, task.remote(str(folder))]

    def engine(self) -> Engine:
        """Returns an engine that draws on the cluster and follows its nodes until it is closed."""
        engine = Engine(*[self.lane() for _ in range(self.actors)])
        threading.Thread(target=self._follow, args=(engine,), name="dgx-pixels-nodes", daemon=True).start()
        return engine

    def _follow(self, engine: Engine) -> None:
        while engine.size and self._ray.is_initialized():
            try:
                self.fit(engine)
            except Exception:  # the cluster cannot be asked for the moment
                logger.exception("the nodes of the cluster cannot be counted")
            threading.Event().wait(LOOK_SECONDS)

    def fit(self, engine: Engine) -> None:
        """Starts the actors that are missing; ends those that are too many, lost ones first."""
        missing = self.actors - engine.size if engine.size else 0
        if missing > 0:
            logger.warning("%d more places to draw: actors are started", missing)
        for _ in range(missing):
            engine.add(self.lane())
        if missing < 0:
            logger.warning("%d fewer places to draw", -missing)
            engine.retire(-missing, lambda lane: not lane.alive())


def join(address: str, **options: Any) -> Any:
    """Joins a Ray cluster, or starts one here for "auto", and returns Ray. `options` are those of `ray.init`.

    A start is tried twice: Ray gives its own processes 30 seconds, which a busy machine may need for other things.

    Raises:
        ServerError: Ray is not installed, does not start, or there is no cluster at the address.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ENABLE_AUTO_CONNECT", "0")  # a call after the end would start another cluster
    try:
        import ray  # pyright: ignore[reportMissingImports] (an extra)
    except ImportError as error:
        raise ServerError("--cluster needs Ray: pip install 'dgx-pixels[cluster]'.") from error
    quiet = {"ignore_reinit_error": True, "log_to_driver": False, "logging_level": logging.WARNING}
    if address != "auto":
        try:
            ray.init(address=address, **quiet, **options)
        except Exception as error:  # Ray raises plain exceptions too
            raise ServerError(f"There is no Ray cluster at {address}. Start one with `ray start --head`.") from error
        return ray
    for last in (False, True):
        try:
            ray.init("local", include_dashboard=False, **quiet, **options)
            break
        except Exception as error:
            if last:
                raise ServerError(f"Ray did not start on this machine: {error}") from error
            logger.warning("Ray did not start, one more try: %s", error)
            ray.shutdown()
    return ray
