"""Measure times, count operations, and keep the rows of the bench's table."""

from __future__ import annotations

import json
import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch


@dataclass
class Row:
    """One measured line. `tflop` is what one run must compute, counted; `rate` is of the measured matrix product."""

    name: str
    seconds: float
    runs: int
    steps: int = 0
    images: int = 1
    tflop: float = 0.0
    peak_gb: float = 0.0
    note: str = ""

    @property
    def steps_per_second(self) -> float:
        return self.steps / self.seconds if self.steps else 0.0

    @property
    def tflops(self) -> float:
        return self.tflop / self.seconds


@dataclass
class Results:
    """Everything that one run measured; `product` is the matrix product's TFLOP/s and `copy` the copy's TB/s."""

    device: str
    product: float = 0.0
    copy: float = 0.0
    rows: list[Row] = field(default_factory=list)
    notes: dict[str, Any] = field(default_factory=dict)
    folder: Path | None = None
    """Where table.txt, rows.jsonl and result.json grow line by line: a run that is killed leaves what it knew."""

    def add(self, row: Row) -> Row:
        """Keeps the row and prints it immediately."""
        self.rows.append(row)
        self._tell(self.line(row), {"row": asdict(row)})
        return row

    def note(self, name: str, value: Any) -> None:
        self.notes[name] = value
        self._tell(f"  {name}: {value}", {"note": name, "value": value})

    def say(self, line: str) -> None:
        """Adds a line to the table that is not a result."""
        self._tell(line)

    def _tell(self, line: str, result: dict[str, Any] | None = None) -> None:
        print(line, flush=True)
        if self.folder is None:
            return
        with (self.folder / "table.txt").open("a", encoding="utf-8") as file:
            file.write(line + "\n")
        if result is not None:
            with (self.folder / "rows.jsonl").open("a", encoding="utf-8") as file:
                file.write(json.dumps(result, default=str) + "\n")
            (self.folder / "result.json").write_text(self.to_json() + "\n", encoding="utf-8")

    def find(self, name: str) -> Row | None:
        return next((row for row in self.rows if row.name == name), None)

    def line(self, row: Row) -> str:
        share = 100 * row.tflops / self.product if self.product else 0.0
        return (
            f"{row.name:<44} {row.seconds:9.4f} s  {row.steps_per_second:7.2f} it/s  {row.tflops:7.1f} TFLOP/s "
            f"{share:5.1f} %  {row.peak_gb:5.1f} GB  x{row.runs:<3} {row.note}"
        )

    def to_json(self) -> str:
        """The whole run as one line."""
        rows = [
            asdict(r) | {"it_per_s": r.steps_per_second, "tflops": r.tflops, "share": r.tflops / (self.product or 1)}
            for r in self.rows
        ]
        own = {"device": self.device, "product": self.product, "copy": self.copy, "notes": self.notes}
        return json.dumps({"bench": "dgx-pixels-sdxl", **own, "rows": rows}, default=str)


def device_name(device: torch.device) -> str:
    """The card or processor, with torch's version."""
    if device.type == "cuda":
        card = torch.cuda.get_device_properties(device)
        return (
            f"{card.name}, {card.total_memory / 2**30:.0f} GiB, sm_{card.major}{card.minor}, torch {torch.__version__}"
        )
    return f"{platform.processor() or platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}"


def synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def measure(
    call: Callable[[], Any], device: torch.device, runs: int, warmup: int = 2, most_seconds: float = 60.0
) -> tuple[float, int, float]:
    """(median seconds, runs made, peak GB) of `call` by the wall clock, the device being idle before and after."""
    for _ in range(warmup):
        call()
    synchronize(device)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    times: list[float] = []
    began = time.perf_counter()
    while len(times) < runs and (len(times) < 3 or time.perf_counter() - began < most_seconds):
        start = time.perf_counter()
        call()
        synchronize(device)
        times.append(time.perf_counter() - start)
    peak = torch.cuda.max_memory_allocated(device) / 1e9 if device.type == "cuda" else 0.0
    return statistics.median(times), len(times), peak


def count_tflop(call: Callable[[], Any]) -> float:
    """Operations of the matrix products, convolutions and attentions in one call, 2 a multiply-add, in 10^12."""
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter:
        call()
    return counter.get_total_flops() / 1e12


def product_rate(device: torch.device, dtype: torch.dtype) -> float:
    """TFLOP/s of a large square matrix product on random data: the ceiling that rows are compared with."""
    n = 8192 if device.type == "cuda" else 1024
    a, b = (torch.randn(n, n, device=device).to(dtype) for _ in range(2))
    seconds, _, _ = measure(lambda: a @ b, device, runs=20, warmup=5)
    return 2 * n**3 / seconds / 1e12


def sustained_rate(device: torch.device, dtype: torch.dtype, seconds: float = 2.0) -> float:
    """TFLOP/s of the same product after it has run for a while: a card that draws its full power lowers its clock."""
    n = 8192 if device.type == "cuda" else 512
    a, b = (torch.randn(n, n, device=device).to(dtype) for _ in range(2))
    began, rounds = time.perf_counter(), [0.0]
    while time.perf_counter() - began < seconds:
        start = time.perf_counter()
        for _ in range(20):
            torch.mm(a, b)
        synchronize(device)
        rounds.append((time.perf_counter() - start) / 20)
    return 2 * n**3 / statistics.median(rounds[len(rounds) // 2 :]) / 1e12


def copy_rate(device: torch.device) -> float:
    """TB/s of a large copy on the device, bytes read plus bytes written."""
    n = (4 << 30) if device.type == "cuda" else (64 << 20)
    source = torch.empty(n, dtype=torch.uint8, device=device).random_(0, 255)
    target = torch.empty_like(source)
    seconds, _, _ = measure(lambda: target.copy_(source), device, runs=10)
    return 2 * n / seconds / 1e12
