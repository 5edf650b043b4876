"""What the bench would show on a DGX Spark (GB10), from the kernels that it saw on another card.

Method: the time of a call's kernels is arithmetic (products, convolutions, attention) or traffic (all else). Arithmetic
scales with the rate of a large matrix product, traffic with the memory's bandwidth, and nothing overlaps. Small kernels
do not reach the copy's rate, so half of the bytes that it would move is the lower end.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tests.bench.measure import Results
from tests.bench.sdxl.rig import Plan

ARITHMETIC = ("matrix product", "convolution", "attention")
SPARK_PRODUCTS = (63.0, 97.0)
"""TFLOP/s of a large float16 product on a Spark, as published: 62 to 64, and elsewhere 97."""
SPARK_COPY = 0.273
"""TB/s of its memory."""
SPARK_STOCK = 10.5
"""Seconds of the stock pipeline there as published: SDXL, float16, 30 guided steps."""


@dataclass(frozen=True)
class Cost:
    """Seconds of one call's kernels on this card."""

    arithmetic: float
    traffic: float

    @staticmethod
    def of(profile: Mapping[str, Any]) -> Cost:
        """Splits the milliseconds of `profile_step` by what bounds them."""
        kinds = profile["milliseconds"]
        arithmetic = sum(kinds.get(kind, 0.0) for kind in ARITHMETIC)
        return Cost(arithmetic / 1000, (sum(kinds.values()) - arithmetic) / 1000)

    def on(self, times_arithmetic: float, times_traffic: float) -> tuple[float, float]:
        """(least, most) seconds on a card where arithmetic takes so many times as long, and traffic."""
        arithmetic, traffic = self.arithmetic * times_arithmetic, self.traffic * times_traffic
        return arithmetic + traffic / 2, arithmetic + traffic


def project(results: Results, plan: Plan, step: Cost, one_row: Cost, decode: Cost, precision: str) -> None:
    """Prints the rows of pictures as a Spark would show them, beside what is published for it."""
    if "GB10" in results.device:
        stock = results.find("stock pipeline")
        measured = f"{stock.seconds:.1f} s here" if stock else "not measured in this run"
        results.note("stock pipeline on a Spark", f"published {SPARK_STOCK} s, {measured}")
        return
    if not results.product or not results.copy:
        return
    cut = int(plan.steps * 0.6)
    pictures = {
        f"{plan.steps} steps, guided": (plan.steps, 0),
        f"{plan.steps} steps, guided for 60 %": (cut, plan.steps - cut),
        f"{plan.few} steps, no guidance": (0, plan.few),
    }
    for rate in SPARK_PRODUCTS:
        scales = results.product / rate, results.copy / SPARK_COPY
        parts = [cost.on(*scales) for cost in (step, one_row, decode)]
        for name, (guided, plain) in pictures.items():
            least, most = (guided * parts[0][i] + plain * parts[1][i] + parts[2][i] for i in (0, 1))
            against = f", stock published {SPARK_STOCK} s" if guided == plan.steps else ""
            results.note(
                f"projected to a Spark with {rate:.0f} TFLOP/s, {precision}: {name}",
                f"{least:.1f}-{most:.1f} s{against}",
            )
