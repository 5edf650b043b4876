"""Many users and many GPUs on paper: `python -m tests.bench.scale.model` prints the tables of docs/scale.md.

Every number that goes in stands in `MEASURED` (with where it was measured) or in `ASSUMED` (with why). Nothing here was
run on more than one machine.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from math import ceil

from tests.bench.scale.closed_forms import mgc_wait
from tests.bench.scale.simulation import Kind, Outcome, Simulation, Source, constant, exponential

MEASURED = {
    "fast": (0.190, "s: an SDXL picture of 1024x1024 in 8 steps, one H200 (docs/performance.md)"),
    "quality": (1.016, "s: the same in 30 guided steps, one H200 (docs/performance.md)"),
    "merge": (0.039, "s: a change of the LoRA stack, one H200 (docs/performance.md)"),
    "outside": (0.0101, "s of processor: generate_sprite outside the device (docs/log.md, `make bench-server`)"),
    "waiter": (0.0025, "s of processor: a drawing among 200 waiting callers, less one alone (docs/log.md)"),
    "pack": (0.169, "s of processor: an actor writes a canvas of 1024x1024 as PNG, while its GPU waits"),
    "unpack": (0.071, "s of processor: the server reads it"),
    "finish": (0.030, "s of processor: a canvas of 1024x1024 becomes a sprite (docs/log.md)"),
    "block": (4096.0, "bytes on disk of a 32 px sprite (1,153 bytes, a block of 4 kB)"),
    "row": (1167.0, "bytes of an asset in library.sqlite, of 1,000"),
    "answer": (11_200.0, "bytes of an answer with its preview"),
    "message": (440.0, "bytes of a request to an actor"),
    "canvas": (2.18, "bytes a pixel of a canvas as PNG on its way from an actor (made of noise of five sizes)"),
}
"""name -> (value, what and where)."""

ASSUMED = {
    "think": (60.0, "s from an answer to the next request of somebody at work: the assistant reads and writes between"),
    "load": (10.0, "s until an SDXL checkpoint is on a GPU: 7 GB at 0.7 GB/s"),
    "gigabytes": (7.0, "of an SDXL checkpoint in fp16"),
    "team": (5.0, "users of one game, who share one LoRA stack"),
    "checkpoints": (5.0, "different SDXL checkpoints, each liked by as many"),
    "hours": (6.0, "at work in a day"),
    "pace of a process": (0.7, "of a core, at which a server process is full: it has one interpreter"),
}
MIX = (
    (0.70, "sprite, 8 steps", 1, "fast"),
    (0.15, "sprite, 30 steps", 1, "quality"),
    (0.15, "tileset or animation, 12 pictures of 8 steps", 12, "fast"),
)
"""Assumed: share of requests, what, pictures, seconds of each."""


def measured(name: str) -> float:
    """Returns a measured number."""
    return MEASURED[name][0]


def assumed(name: str) -> float:
    """Returns an assumed number."""
    return ASSUMED[name][0]


def work(count: int, each: str) -> float:
    """Returns the seconds that an actor is busy with so many pictures."""
    return count * (measured(each) + measured("pack"))


def service() -> tuple[float, float]:
    """Returns the mean seconds of a request on a device, and their variance over the mean squared."""
    seconds = [(share, work(count, each)) for share, _, count, each in MIX]
    mean = sum(share * one for share, one in seconds)
    return mean, sum(share * one * one for share, one in seconds) / mean**2 - 1


def pictures() -> float:
    """Returns the mean pictures of a request."""
    return sum(share * count for share, _, count, _ in MIX)


def sources(users: int) -> list[Source]:
    """Returns users at work: each of the checkpoints has as many of them, in teams with a stack of their own."""
    checkpoints = int(assumed("checkpoints"))
    teams = max(1, ceil(users / assumed("team") / checkpoints))
    found = []
    for checkpoint in range(checkpoints):
        mine = users // checkpoints + (checkpoint < users % checkpoints)
        kinds = tuple(
            (
                share,
                Kind(
                    name,
                    constant(work(count, each)),
                    f"checkpoint {checkpoint}",
                    teams,
                    assumed("gigabytes"),
                    assumed("load"),
                    measured("merge"),
                    count,
                ),
            )
            for share, name, count, each in MIX
        )
        if mine:
            found.append(Source(kinds, mine, think=exponential(assumed("think"))))
    return found


def run(users: int, gpus: int, room: float, seconds: float, patience: float = 0.0) -> Outcome:
    """Simulates users at work on so many GPUs with `room` GB each for models."""
    people = sources(users)
    kinds = [source.kinds[0][1] for source in people]
    simulation = Simulation(people, gpus, room, seed=1, preloaded=kinds, patience=patience)
    return simulation.run(seconds, warm_up=180)


@dataclass(frozen=True)
class Row:
    """One line of a table."""

    users: int
    gpus: int
    outcome: Outcome

    def text(self) -> str:
        """Returns the line in Markdown."""
        seen, (_, variation) = self.outcome, service()
        mean = seen.busy * self.gpus / seen.pace  # changes of stack and loads included
        paper = f"{mgc_wait(seen.pace, mean, variation, self.gpus):.2f}" if seen.busy < 0.98 else "full"
        changes = seen.merges / max(len(seen.answers), 1)
        return (
            f"| {self.users:,} | {self.gpus} | {seen.pace:.2f} | {100 * seen.busy:.0f} % | {seen.waits.mean():.2f} | "
            f"{paper} | {seen.percentile(95):.1f} | {100 * changes:.0f} % | {seen.loads} |"
        )


HEAD = (
    "| users at work | GPUs | requests a second | busy | mean wait, s | by Allen and Cunneen, s | answer, p95, s | "
    "change of stack | loads |\n|---|---|---|---|---|---|---|---|---|"
)


def table(pairs: list[tuple[int, int]], room: float, seconds: float, patience: float = 0.0) -> None:
    """Prints a line for each number of users and GPUs."""
    print(HEAD)
    for users, gpus in pairs:
        print(Row(users, gpus, run(users, gpus, room, seconds, patience)).text(), flush=True)


def beside(users: int) -> str:
    """Returns what so many users at work need beside GPUs, in Markdown."""
    mean, _ = service()
    rate = users / (assumed("think") + mean)
    picture = measured("unpack") + measured("finish")
    processor = rate * (measured("outside") + measured("waiter") + pictures() * picture)
    assets = rate * 3600 * assumed("hours")
    each = measured("block") + measured("row")
    inbound = rate * pictures() * measured("canvas") * 1024 * 1024
    return (
        f"| {users:,} | {rate:.2f} | {processor:.2f} | {ceil(processor / assumed('pace of a process'))} | "
        f"{assets:,.0f} | {assets * each / 1e9:.2f} | {250 * assets * each / 1e9:,.0f} | "
        f"{rate * measured('answer') * 8 / 1e6:.2f} | {inbound * 8 / 1e6:,.0f} |"
    )


def main() -> None:
    """Prints all tables."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=600, help="simulated time of each line")
    options = parser.parse_args()
    for title, numbers in (("measured", MEASURED), ("assumed", ASSUMED)):
        print(f"\n{title}:")
        for name, (value, what) in numbers.items():
            print(f"  {name} = {value:g} {what}")
    mean, variation = service()
    print(f"  a request: {mean:.3f} s of a device on average, variance {variation:.2f} of the mean squared")
    print("\nGPUs with room for all checkpoints (120 GB):")
    table([(10, 1), (50, 1), (50, 2), (100, 3), (300, 8), (1000, 20), (1000, 24)], 120, options.seconds)
    print("\nGPUs with room for two checkpoints (16 GB of 24):")
    table([(100, 5), (300, 10), (1000, 25)], 16, options.seconds)
    print("\nthe same, where a request waits up to 30 s for a GPU that has its checkpoint:")
    table([(100, 5), (300, 10), (1000, 25)], 16, options.seconds, patience=30)
    print("\nmany GPUs, about 80 % busy:")
    table([(500, 12), (4_000, 90), (45_000, 1000)], 120, options.seconds / 5)
    print("\nbeside the GPUs:")
    print(
        "| users at work | requests a second | cores for the server | processes | assets a day | GB a day | "
        "GB in 250 days | Mbit/s to clients | Mbit/s from actors |\n|---|---|---|---|---|---|---|---|---|"
    )
    for users in (10, 50, 100, 300, 1000, 4_000, 45_000):
        print(beside(users))


if __name__ == "__main__":
    main()
