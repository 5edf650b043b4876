"""Read what was made, the engine and the training jobs when Prometheus asks. Loads nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from pipelines.engine.seconds import BOUNDS
from server.studio import Studio
from server.tally import SCORES, TALLY, Scores, Tally

if TYPE_CHECKING:
    from pipelines.engine.engine import Figures


class Made(Collector):
    """What the process has made, and how good it was (`server.tally`)."""

    def __init__(self, tally: Tally = TALLY) -> None:
        self._tally = tally

    def describe(self) -> Iterable[Metric]:
        """Returns nothing: a registry asks for names only to find two of one name."""
        return []

    def collect(self) -> Iterable[Metric]:
        """See `prometheus_client.registry.Collector`."""
        counts = self._tally.counts()
        yield _counter("assets", "Assets by kind and model.", ("kind", "model"), counts.assets)
        yield _counter("gate_failures", "Assets that a gate failed.", ("model", "gate"), counts.gates)
        doubtful = {(model,): count for model, count in counts.doubtful.items()}
        yield _counter("doubtful_sprites", "Sprites in which the judge does not see the noun.", ("model",), doubtful)
        yield _scores("score", "The score by which candidates are chosen, of what was kept.", counts.scores)
        yield _scores("judge_score", "How far the judge sees the noun, of what was kept.", counts.judged)
        yield _counter("votes", "Votes in comparisons.", ("variant", "outcome"), counts.votes)
        yield _counter("deploys", "Deploys and undos by the game's answer.", ("state", "verification"), counts.deploys)


class State(Collector):
    """The engine and the training jobs."""

    def __init__(self, studio: Studio) -> None:
        self._studio = studio

    def describe(self) -> Iterable[Metric]:
        """Returns nothing: a registry asks for names only to find two of one name."""
        return []

    def collect(self) -> Iterable[Metric]:
        """See `prometheus_client.registry.Collector`."""
        awake = self._studio.awake
        yield _gauge("engine_up", "1 once the engine has been asked for.", (), {(): float(awake)})
        if awake:
            status, figures = self._studio.engine.status(), self._studio.engine.figures()
            yield from _engine(status, figures)
            yield from _devices(status.get("lanes") or [status])
        yield from _training(self._studio)


def _engine(status: Mapping[str, Any], figures: Figures) -> Iterable[Metric]:
    yield _gauge("engine_devices", "Devices that draw.", (), {(): figures.devices})
    yield _gauge("engine_busy", "Devices that draw or load now.", (), {(): figures.busy})
    yield _gauge("engine_queue", "Requests that wait.", (), {(): len(status["queued"])})
    yield _histogram(
        "engine_wait_seconds",
        "Seconds that a drawing waited for a device.",
        BOUNDS,
        {model: (seconds.counts, seconds.total) for model, seconds in figures.waits.items()},
    )
    yield _histogram(
        "engine_work_seconds",
        "Seconds that a device worked for a drawing.",
        BOUNDS,
        {model: (seconds.counts, seconds.total) for model, seconds in figures.works.items()},
    )
    found = {(name,): count for name, count in figures.found.items()}
    yield _counter("engine_found", "Drawings by what their device had in memory.", ("found",), found)
    for name, text in (
        ("drawn", "Pictures drawn, candidates included."),
        ("steps", "Denoise steps taken."),
        ("cancelled", "Requests cancelled."),
        ("failed", "Requests failed."),
    ):
        yield _counter(f"engine_{name}", text, (), {(): status[name]})


def _devices(told: Sequence[Mapping[str, Any]]) -> Iterable[Metric]:
    """Shows each lane's device, and its models."""
    free = {
        (str(lane), one["device"]): one["free_megabytes"] * 1e6
        for lane, one in enumerate(told)
        if "free_megabytes" in one
    }
    models = [(str(lane), model) for lane, one in enumerate(told) for model in one.get("resident", [])]
    sizes = {(lane, model["model"]): model["megabytes"] * 1e6 for lane, model in models}
    prompts = {
        (lane, model["model"], found): count
        for lane, model in models
        for found, count in model.get("prompts", {}).items()
    }
    yield _gauge("device_free_bytes", "Free memory of a device.", ("lane", "device"), free)
    yield _gauge("model_bytes", "Memory of each resident model.", ("lane", "model"), sizes)
    yield _counter("prompt_cache", "Prompts that were found in a model's cache.", ("lane", "model", "found"), prompts)


def _training(studio: Studio) -> Iterable[Metric]:
    jobs = {(job.id, job.name, job.model): job for job in studio.jobs.list() if job.active}
    labels = ("job", "name", "model")
    yield _gauge("training_loss", "Loss of a running job.", labels, {key: job.loss for key, job in jobs.items()})
    done = {key: job.done for key, job in jobs.items()}
    yield _gauge("training_steps_done", "Steps that a running job has taken.", labels, done)
    pace = {key: job.steps_per_second for key, job in jobs.items()}
    yield _gauge("training_steps_per_second", "Pace of a running job.", labels, pace)


def _gauge(name: str, text: str, labels: Sequence[str], values: Mapping[tuple[str, ...], float]) -> Metric:
    family = GaugeMetricFamily(f"dgx_pixels_{name}", text, labels=labels)
    for key, value in values.items():
        family.add_metric(key, value)
    return family


def _counter(name: str, text: str, labels: Sequence[str], values: Mapping[tuple[str, ...], float]) -> Metric:
    family = CounterMetricFamily(f"dgx_pixels_{name}", text, labels=labels)
    for key, value in values.items():
        family.add_metric(key, value)
    return family


def _scores(name: str, text: str, scores: Mapping[str, Scores]) -> Metric:
    counted = {model: (one.counts, one.total) for model, one in scores.items()}
    return _histogram(name, text, SCORES, counted)


def _histogram(name: str, text: str, bounds: Sequence[float], values: Mapping[str, tuple[list[int], float]]) -> Metric:
    """Returns a histogram by model from the counts of each class."""
    family = HistogramMetricFamily(f"dgx_pixels_{name}", text, labels=["model"])
    for model, (counts, total) in values.items():
        below = accumulate(counts)
        family.add_metric([model], list(zip([*map(str, bounds), "+Inf"], below, strict=True)), total)
    return family
