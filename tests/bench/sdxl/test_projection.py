"""What the bench says a Spark would show."""

from __future__ import annotations

import pytest

from tests.bench.measure import Results, Row
from tests.bench.sdxl.projection import Cost, project
from tests.bench.sdxl.rig import PLANS

STEP = Cost.of({"milliseconds": {"matrix product": 10.0, "attention": 10.0, "compiled norm": 5.0, "copy": 5.0}})


def test_arithmetic_scales_with_the_product_and_traffic_with_the_memory_of_which_half_is_the_lower_end() -> None:
    assert STEP.arithmetic == 0.02
    assert STEP.traffic == 0.01
    assert STEP.on(10, 20) == pytest.approx((0.3, 0.4))


def test_pictures_are_printed_beside_the_published_stock_pipeline() -> None:
    results = Results("NVIDIA H200", product=630.0, copy=2.73)
    project(results, PLANS["full"], STEP, Cost(0.01, 0.005), Cost(0.0, 0.0), "float16")
    said = results.notes["projected to a Spark with 63 TFLOP/s, float16: 30 steps, guided"]
    assert said == "7.5-9.0 s, stock published 10.5 s"
    assert results.notes["projected to a Spark with 63 TFLOP/s, float16: 8 steps, no guidance"] == "1.0-1.2 s"


def test_a_spark_prints_its_own_stock_pipeline_beside_the_published_one() -> None:
    results = Results("NVIDIA GB10", product=63.0, copy=0.2)
    results.rows.append(Row("stock pipeline", 11.0, 3))
    project(results, PLANS["full"], STEP, STEP, STEP, "float16")
    assert results.notes == {"stock pipeline on a Spark": "published 10.5 s, 11.0 s here"}
