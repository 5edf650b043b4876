"""The machine's check-up, on this machine and on machines that are not here."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys

import pytest

from pipelines.engine.hardware import Machine, describe, doctor, free_bytes, judge, look, read_clocks

GB = 1 << 30
SPARK = Machine(
    system="Linux 6.11.0, aarch64",
    python="3.12.3",
    cores=20,
    memory=120 * GB,
    memory_free=100 * GB,
    nvidia_gpu="NVIDIA GB10",
    driver="580.95.05",
    torch="2.13.0+cu130",
    torch_cuda="13.0",
    device="cuda",
    card="NVIDIA GB10",
    capability=(12, 1),
    architectures=("sm_80", "sm_90", "sm_100", "sm_120"),
    unified=True,
    card_memory=120 * GB,
    card_free=100 * GB,
    triton="3.7.1",
    ptxas="/x/ptxas",
    compiler="/usr/bin/cc",
    cache="/home/a/.cache/huggingface/hub",
    disk_free=900 * GB,
    page_cache=15 * GB,
    cuda_free=85 * GB,
    clock=208,
    busy=0,
)


def test_a_dgx_spark_in_order_has_nothing_to_change() -> None:
    found = judge(SPARK)
    assert {finding.state for finding in found} == {"fine"}
    assert {finding.change for finding in found} == {""}
    assert "unified memory" in next(f.what for f in found if f.topic == "GPU")


@pytest.mark.parametrize(
    ("changes", "topic", "state", "words"),
    [
        ({"torch_cuda": "", "device": "cpu", "card": ""}, "torch", "broken", "CUDA build"),
        ({"torch": ""}, "torch", "broken", "Install dgx-pixels again"),
        ({"device": "cpu", "card": ""}, "driver", "broken", "Update the NVIDIA driver"),
        ({"architectures": ("sm_80", "sm_90")}, "GPU", "broken", "newest torch"),
        ({"ptxas_knows": False}, "compiling", "advice", "TRITON_PTXAS_PATH"),
        ({"triton": ""}, "compiling", "advice", "triton"),
        ({"compiler": ""}, "compiling", "advice", "gcc"),
        ({"card_free": 2 * GB}, "free memory", "advice", "share the GPU's memory"),
        ({"card_free": 2 * GB, "unified": False}, "free memory", "advice", "nvidia-smi"),
        ({"disk_free": 3 * GB}, "disk", "advice", "HF_HOME"),
        ({"torch": "2.10.0+cu128", "torch_cuda": "12.8"}, "torch", "advice", "CUDA 13"),
        ({"clock": 513, "busy": 96}, "power", "broken", "out of the wall"),
        ({"clock": 1900, "busy": 96, "capped": ("heat",)}, "power", "advice", "cooling"),
        ({"cuda_free": 2 * GB}, "page cache", "advice", "drop_caches"),
        (
            {"ptxas_knows": False, "toolkit_ptxas": "/usr/local/cuda/bin/ptxas"},
            "compiling",
            "advice",
            "export TRITON_PTXAS_PATH=/usr/local/cuda/bin/ptxas",
        ),
    ],
)
def test_what_is_wrong_is_reported_with_what_to_change(changes: dict, topic: str, state: str, words: str) -> None:
    found = judge(dataclasses.replace(SPARK, **changes))
    wrong = [finding for finding in found if finding.topic == topic]
    assert [finding.state for finding in wrong] == [state]
    assert words in wrong[0].change


@pytest.mark.parametrize(
    "changes",
    [
        {"clock": 2400, "busy": 97},
        {"clock": 208, "busy": 3, "capped": ("power cap",)},
        {"clock": 0},
        {"cuda_free": 2 * GB, "unified": False},
    ],
)
def test_a_spark_at_work_and_a_card_of_its_own_memory_are_fine(changes: dict) -> None:
    assert {finding.state for finding in judge(dataclasses.replace(SPARK, **changes))} == {"fine"}


def test_another_card_with_a_low_clock_is_not_called_a_failed_power_supply() -> None:
    card = dataclasses.replace(SPARK, capability=(9, 0), unified=False, clock=600, busy=99)
    assert {finding.state for finding in judge(card)} == {"fine"}


@pytest.mark.parametrize(
    ("line", "facts"),
    [
        ("2405, 96, 0x0000000000000000", {"clock": 2405, "busy": 96, "capped": ()}),
        ("850, 96, 0x0000000000000024", {"clock": 850, "busy": 96, "capped": ("power cap", "heat")}),
        ("208, 0, 0x0000000000000001", {"clock": 208, "busy": 0, "capped": ()}),
        ("[N/A], [N/A], [N/A]", {}),
        ("", {}),
        ("1, 2, 3, 4", {"clock": 1, "busy": 2}),
    ],
)
def test_clocks_are_read_from_nvidia_smi(line: str, facts: dict) -> None:
    assert read_clocks(line) == facts


def test_a_laptop_without_a_gpu_is_fine_as_it_is() -> None:
    laptop = Machine(
        system="Darwin", python="3.13", torch="2.15.0", memory=16 * GB, memory_free=9 * GB, disk_free=99 * GB
    )
    assert {finding.state for finding in judge(laptop)} == {"fine"}


def test_this_machine_is_described_in_json_and_as_text() -> None:
    machine = look()
    assert machine.memory > machine.memory_free > 0
    facts = json.loads(json.dumps(describe()))["facts"]
    assert facts["torch"] == machine.torch
    assert "torch" in doctor()
    assert free_bytes("cpu") > 0


def test_the_module_is_loaded_without_torch() -> None:
    code = "import sys, pipelines.engine.hardware; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
