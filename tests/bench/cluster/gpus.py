"""Bench of several GPUs of one machine: SDXL pictures a minute and embedded sprites a second on 1, 2, 4 of them.

    python -m tests.bench.cluster.gpus [--size full] [--gpus 1 2 4] [--out results.json]

An actor on each GPU draws with a checkpoint of random weights that is written first: speed does not depend on weights.
Every shape is captured before it is timed. All arms use the same actors, so no arm has a better card. The last arm is
one process without Ray. Results are written after every arm, and printed as JSON at the end.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import logging
import shutil
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch

from pipelines.engine.backend import Backend
from pipelines.engine.engine import Engine
from pipelines.models.catalog import EMBEDDED
from pipelines.records import Drawing, DrawRequest
from pipelines.sdxl.diffusion import DiffusersBackend
from server.cluster.lanes import RayLane
from server.settings import Settings
from tests.random_sdxl import SIZES, build

BEGAN = time.perf_counter()


class Results:
    """Rows that are printed and written as soon as they are known."""

    def __init__(self, file: Path | None) -> None:
        self.values: dict[str, Any] = {}
        self._file = file

    def add(self, name: str, value: Any) -> None:
        """Notes a value."""
        self.values[name] = value
        print(f"{time.perf_counter() - BEGAN:6.1f} s  {name}: {json.dumps(value)}", flush=True)
        if self._file:
            self._file.write_text(json.dumps(self.values, indent=1))


def write_sdxl(folder: Path, size: str, device: str, dtype: torch.dtype) -> int:
    """Writes a checkpoint of random weights in diffusers layout and returns its canvas."""
    from diffusers.pipelines.stable_diffusion_xl.pipeline_stable_diffusion_xl import StableDiffusionXLPipeline

    parts = build(SIZES[size], torch.device(device), dtype)
    parts["vae"].register_to_config(force_upcast=False)
    StableDiffusionXLPipeline(**parts, add_watermarker=False).save_pretrained(folder, safe_serialization=True)
    return SIZES[size].canvas


def write_embedded(folder: Path) -> None:
    """Writes the embedded model, its UNet with random weights where its own are not there."""
    shutil.copytree(EMBEDDED, folder)
    if not list((folder / "unet").glob("*.safetensors")):
        from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

        torch.manual_seed(0)
        config = json.loads((folder / "unet" / "config.json").read_text(encoding="utf-8"))
        unet: Any = UNet2DConditionModel(**{k: v for k, v in config.items() if not k.startswith("_")})
        unet.save_pretrained(folder / "unet", safe_serialization=True)


def sdxl(model: str, canvas: int, seed: int, steps: int) -> DrawRequest:
    """Returns a guided picture."""
    return DrawRequest(
        model, ("pixel art sprite of a mossy stone golem",), (seed,), canvas, canvas, "red dragon", None, "", steps, 7.5
    )


def sprites(model: str, seed: int, batch: int) -> DrawRequest:
    """Returns a batch of plain sprites."""
    seeds = tuple(range(seed * batch, (seed + 1) * batch))
    return DrawRequest(model, ("red dragon",) * batch, seeds, 32, 32)


def prepare(backend: Backend, requests: list[DrawRequest], limit: float) -> float:
    """Draws each request and captures its shapes; returns the seconds."""
    begun = time.perf_counter()
    for request in requests:
        backend.draw(request, lambda done, total: None)
    warm: Any = getattr(backend, "warm", None)
    while warm(lambda: time.perf_counter() - begun > limit):
        pass
    for request in requests:  # by the graphs, before the clock starts
        backend.draw(request, lambda done, total: None)
    return round(time.perf_counter() - begun, 1)


def pace(engine: Engine, requests: list[DrawRequest], clients: int) -> float:
    """Returns pictures a second with so many clients, who ask again as soon as they are answered."""
    begun = time.perf_counter()
    with ThreadPoolExecutor(clients) as pool:
        drawn = sum(pool.map(lambda request: len(engine.draw(request).images), requests))
    return drawn / (time.perf_counter() - begun)


def digest(drawing: Drawing) -> str:
    """Returns a hash of the pictures."""
    return hashlib.sha256(b"".join(image.tobytes() for image in drawing.images)).hexdigest()


def graphs(backend: Backend) -> Any:
    """Returns what the backend says about its graphs, once it answers within a second."""
    for _ in range(10):
        if told := backend.describe().get("resident"):
            return [{"megabytes": one["megabytes"], **one["graphs"]} for one in told]
    return "no answer"


def main() -> None:
    """Measures every arm."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--size", choices=SIZES, default="full")
    parser.add_argument("--gpus", type=int, nargs="*", default=[1, 2, 4])
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--pictures", type=int, default=30, help="for each GPU of an arm")
    parser.add_argument("--sprites", type=int, default=400, help="requests for each GPU of an arm")
    parser.add_argument("--limit", type=float, default=170, help="seconds for the graphs")
    parser.add_argument("--single-before", type=float, default=400, help="begin the arm without Ray before this second")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    results = Results(options.out)
    cuda = torch.cuda.is_available()
    results.add("device", [torch.cuda.get_device_name(0), torch.cuda.device_count()] if cuda else "cpu")
    with tempfile.TemporaryDirectory() as folder:
        measure(Path(folder), options, results, cuda)
    print(json.dumps(results.values))


def measure(folder: Path, options: argparse.Namespace, results: Results, cuda: bool) -> None:
    """Writes the models, starts the actors, and times the arms."""
    import ray  # pyright: ignore[reportMissingImports] (an extra)

    model, small, most = str(folder / "sdxl"), str(folder / "embedded"), max(options.gpus)
    dtype = torch.float16 if cuda else torch.float32
    canvas = write_sdxl(Path(model), options.size, "cuda" if cuda else "cpu", dtype)
    write_embedded(Path(small))
    if cuda:
        torch.cuda.empty_cache()
    results.add("checkpoints are written", canvas)
    ray.init(
        num_cpus=most,
        num_gpus=most if cuda else 0,
        include_dashboard=False,
        log_to_driver=False,
        logging_level=logging.WARNING,
        object_store_memory=1 << 30,
    )
    settings = Settings(data_dir=folder / "data")
    own = DiffusersBackend()
    actor = {"num_gpus": 1, "num_cpus": 0} if cuda else {"num_cpus": 1}
    lanes = [RayLane(settings, own, actor) for _ in range(most)]
    shapes = [sdxl(model, canvas, 0, 2), *(sprites(small, 0, batch) for batch in (1, 8))]
    with ThreadPoolExecutor(most) as pool:
        seconds = list(pool.map(lambda lane: prepare(lane, shapes, options.limit), lanes))
    results.add("seconds to load and to capture, each actor", seconds)
    results.add("graphs of the first actor", graphs(lanes[0]))
    for request in (sdxl(model, canvas, 7, options.steps), sprites(small, 3, 1), sprites(small, 3, 8)):
        with ThreadPoolExecutor(most) as pool:
            drawn = set(pool.map(lambda lane, asked=request: digest(lane.draw(asked, lambda *_: None)), lanes))
        results.add(f"different pictures of {len(request.seeds)}x{request.width} by all actors", len(drawn))
    for gpus in options.gpus:
        time_arms(f"{gpus} GPUs", lanes[:gpus], model, small, canvas, options, results)
    if time.perf_counter() - BEGAN < options.single_before:
        results.add("one process: seconds to load and to capture", prepare(own, shapes, options.limit))
        time_arms("one process", [own], model, small, canvas, options, results)
    ray.shutdown()


def time_arms(
    name: str,
    backends: list[Any],
    model: str,
    small: str,
    canvas: int,
    options: argparse.Namespace,
    results: Results,
) -> None:
    """Times pictures, single sprites and sprites by eight."""
    count = len(backends)
    engine = Engine(*backends)
    drawn = [sdxl(model, canvas, seed, options.steps) for seed in range(options.pictures * count)]
    results.add(f"{name}: SDXL pictures a minute", round(60 * pace(engine, drawn, 2 * count), 2))
    for batch in (1, 8):
        drawn = [sprites(small, seed, batch) for seed in range(options.sprites * count // (1 if batch == 1 else 2))]
        results.add(f"{name}: sprites a second, {batch} a request", round(pace(engine, drawn, 4 * count), 2))
    engine.close()


if __name__ == "__main__":
    main()
