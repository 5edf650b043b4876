"""Times a library of 10,000 assets: list_assets as a client calls it, the gallery, comparison views.

make bench-library          (COUNT=10000)
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
from fastmcp import Client

from pipelines.records import Recipe
from server.features.comparisons.compare import Comparisons, Variant
from server.features.comparisons.view import all_entries
from server.gallery.build import gallery_page, write_gallery
from server.library.store import Library
from server.protocol.app import create_server
from server.settings import Settings
from tests.fakes import FakeBackend, fake_picture

_GOALS = {"list_assets": 0.020, "list_assets, filtered": 0.020, "write_gallery, all pages": 3.0}


def fill(library: Library, count: int) -> list[str]:
    """Keeps `count` sprites with the recipe, report and details that a drawn sprite has; returns their ids."""
    from pipelines.pixels.png import encode_png

    words = ("red dragon", "mossy golem", "blue key", "gold coin", "green slime", "stone floor")
    report = {"passed": True, "gates": {"size": True, "alpha": True, "colors": True}, "scores": {"coverage": 0.42}}
    details = {"palette": [f"{n * 999:06x}" for n in range(16)], "unknown_words": []}
    ids = []
    for number in range(count):
        prompt = f"{words[number % len(words)]} {number}"
        recipe = Recipe("sprite", prompt, 32, 32, number, options={"base": "0" * 64})
        png = encode_png(fake_picture(prompt, number, 32, 32), recipe.to_json())
        ids.append(library.add("sprite", {"sprite.png": png}, recipe, report, details).id)
    return ids


Times = tuple[float, float]
"""The median seconds of a call, and the CPU seconds of the process (for a machine that is shared)."""


def seconds(work: Callable[[], Any], repeats: int) -> Times:
    """Times a call."""
    times = []
    for _ in range(repeats):
        started = time.perf_counter(), time.process_time()
        work()
        times.append((time.perf_counter() - started[0], time.process_time() - started[1]))
    return statistics.median(t[0] for t in times), statistics.median(t[1] for t in times)


async def list_times(settings: Settings, arguments: dict[str, Any], *, client: bool, repeats: int = 15) -> Times:
    """Times list_assets in the server, or as an in-memory client sees it (which validates the answer twice more)."""
    times = []
    server = create_server(settings, FakeBackend())
    async with Client(server) as connected:
        called = connected if client else server
        for number in range(repeats + 1):
            started = time.perf_counter(), time.process_time()
            await called.call_tool("list_assets", arguments)
            if number:  # the first call imports
                times.append((time.perf_counter() - started[0], time.process_time() - started[1]))
    return statistics.median(t[0] for t in times), statistics.median(t[1] for t in times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=10_000)
    count = parser.parse_args().count
    with tempfile.TemporaryDirectory() as folder:
        game = Path(folder) / "game"
        (game / "assets").mkdir(parents=True)
        (game / "Cargo.toml").write_text('[package]\nname = "big"\nversion = "0.1.0"\n[dependencies]\nbevy = "0.19"\n')
        library = Library(game / ".dgx-pixels")
        started = time.perf_counter()
        ids = fill(library, count)
        print(f"{count} assets kept in {time.perf_counter() - started:.1f} s")
        kept = Comparisons(library)
        for at in range(0, min(count, 1920), 96):  # the largest comparisons that there may be
            cells = [[ids[at + 12 * v : at + 12 * v + 12][p::4] for p in range(4)] for v in range(8)]
            prompts = ["a", "b", "c", "d"]
            kept.add([Variant(f"model{v}") for v in range(8)], prompts, [1, 2, 3], cells, blind=False)
        settings = Settings(project=game, data_dir=Path(folder) / "data")
        took = {
            "list_assets": anyio.run(lambda: list_times(settings, {}, client=False)),
            "list_assets, filtered": anyio.run(lambda: list_times(settings, {"words": "golem 7"}, client=False)),
            "list_assets, client included": anyio.run(lambda: list_times(settings, {}, client=True)),
            "Library.find": seconds(library.find, 15),
            "gallery_page, the first": seconds(lambda: gallery_page(library), 3),
            "write_gallery, all pages": seconds(lambda: write_gallery(library), 3),
            "comparisons on the page (10)": seconds(lambda: all_entries(library), 3),
            "ranking": seconds(kept.ranking, 3),
        }
        for name, (wall, cpu) in took.items():
            goal = f"   goal {_GOALS[name] * 1000:.0f} ms" if name in _GOALS else ""
            print(f"{name:32} {wall * 1000:8.1f} ms   {cpu * 1000:8.1f} ms of CPU{goal}")
        library.close()


if __name__ == "__main__":
    main()
