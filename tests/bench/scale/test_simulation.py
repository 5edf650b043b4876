"""The simulation against closed forms of queueing theory, and against the rules of the engine that it imitates."""

from __future__ import annotations

import numpy as np
import pytest

from tests.bench.scale.closed_forms import erlang_c, mdc_wait, mgc_wait, mmc_wait, repair_pace
from tests.bench.scale.simulation import Kind, Outcome, Sample, Simulation, Source, constant, exponential


def open_queue(rate: float, service: Sample, devices: int, requests: int = 40_000, users: int = 1) -> Outcome:
    source = Source(((1.0, Kind("sprite", service)),), users=users, rate=rate)
    return Simulation([source], devices, seed=7).run(requests / rate, warm_up=2_000 / rate)


def agrees(samples: np.ndarray, expected: float) -> bool:
    """Whether a mean is within four standard errors (by 20 batches) of what is expected, and the error is small."""
    batches = np.array([batch.mean() for batch in np.array_split(samples, 20)])
    error = batches.std(ddof=1) / len(batches) ** 0.5
    return abs(samples.mean() - expected) < 4 * error < 0.25 * expected


def test_the_closed_forms_agree_where_they_meet() -> None:
    assert erlang_c(0.7, 1) == pytest.approx(0.7)
    assert mmc_wait(0.7, 1.0) == pytest.approx(0.7 / 0.3)
    assert mdc_wait(0.7, 1.0) == pytest.approx(mgc_wait(0.7, 1.0, 0.0), rel=1e-6)
    assert erlang_c(2.0, 3) == pytest.approx(4 / 9)


@pytest.mark.parametrize("load", [0.3, 0.7])
def test_one_device_waits_as_m_m_1(load: float) -> None:
    seen = open_queue(load, exponential(1.0), 1)
    assert agrees(seen.waits, mmc_wait(load, 1.0))
    assert seen.busy == pytest.approx(load, rel=0.02)


@pytest.mark.parametrize(("devices", "load"), [(1, 0.8), (4, 0.85)])
def test_devices_with_a_constant_time_wait_as_m_d_c(devices: int, load: float) -> None:
    seen = open_queue(load * devices, constant(1.0), devices)
    assert agrees(seen.waits, mdc_wait(load * devices, 1.0, devices))


def test_several_devices_wait_as_m_m_c() -> None:
    seen = open_queue(2.8, exponential(1.0), 4, requests=60_000)
    assert agrees(seen.waits, mmc_wait(2.8, 1.0, 4))
    assert agrees((seen.waits > 0).astype(float), erlang_c(2.8, 4))


def test_fair_turns_change_who_waits_and_not_how_long_on_average() -> None:
    assert agrees(open_queue(0.7, exponential(1.0), 1, users=10).waits, mmc_wait(0.7, 1.0))


def test_users_who_think_are_answered_as_in_the_machine_repair_model() -> None:
    source = Source(((1.0, Kind("sprite", exponential(1.0))),), users=12, think=exponential(10.0))
    seen = Simulation([source], seed=3).run(30_000, warm_up=500)
    assert seen.pace == pytest.approx(repair_pace(12, 10.0, 1.0), rel=0.02)


def test_a_share_of_two_gets_twice_the_answers_where_all_ask_without_pause() -> None:
    kind = ((1.0, Kind("sprite", constant(1.0))),)
    plain = Source(kind, users=8, think=constant(0.01))
    double = Source(kind, users=2, share=2.0, think=constant(0.01))
    counts = Simulation([plain, double]).run(3_600, warm_up=100).by_owner()
    assert len(counts) == 10
    assert min(counts[f"1.{user}"] for user in range(2)) == pytest.approx(600, rel=0.02)
    assert max(counts[f"0.{user}"] for user in range(8)) == pytest.approx(300, rel=0.02)


def test_a_request_goes_to_the_device_that_has_its_model() -> None:
    small = Kind("small", constant(1.0), model="small", gigabytes=1, load=5)
    large = Kind("large", constant(1.0), model="large", gigabytes=7, load=30)
    sources = [Source(((1.0, kind),), rate=0.2) for kind in (small, large)]
    roomy = Simulation(sources, devices=2, room=8).run(4_000)
    assert roomy.loads <= 4
    tight = Simulation(sources, devices=2, room=7).run(4_000, warm_up=100)
    patient = Simulation(sources, devices=2, room=7, patience=30).run(4_000, warm_up=100)
    assert tight.loads > 100
    assert patient.loads < tight.loads / 2
    assert patient.answers.mean() < tight.answers.mean()


def test_a_stack_is_merged_again_where_another_team_drew_before() -> None:
    kind = Kind("sprite", constant(1.0), loras=2, merge=0.5)
    alternating = Simulation([Source(((1.0, kind),), users=2, think=constant(0.01))]).run(1_500, warm_up=10)
    assert alternating.pace == pytest.approx(1 / 1.5, rel=0.02)


def test_the_same_seed_gives_the_same_run() -> None:
    first, second = (open_queue(0.7, exponential(1.0), 1, requests=500) for _ in range(2))
    assert first.answers.tolist() == second.answers.tolist()
