"""Collect facts about the machine and its GPU, and say what to change, for `dgx-pixels doctor` and get_status.

`look` collects the facts and `judge` turns them into findings, so that tests can judge any machine. The module imports
torch only inside functions, loads no model and changes nothing.
"""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

SDXL_BYTES = 8 << 30
"""Device memory that one SDXL model in fp16 needs to draw at 1024x1024."""
SDXL_DISK = 15 << 30
"""Disk that SDXL, its float16 autoencoder and a few LoRAs need, with room to download."""
GB10 = (12, 1)
"""CUDA capability of a DGX Spark's GPU."""
SLOW_CLOCK = 1000
"""MHz. A busy GB10 runs at about 2,400; after a failed negotiation with its power supply it stays at 500 to 850."""
BUSY = 50
"""Percent of time that the GPU worked in the last second: an idle one has a low clock by design."""
TOOLKIT = Path("/usr/local/cuda/bin/ptxas")
"""Where the CUDA toolkit of DGX OS has its assembler."""
_CAPPED = {0x4: "power cap", 0x8: "hardware slowdown", 0x20: "heat", 0x40: "heat", 0x80: "power brake"}
"""Bits of nvidia-smi's clocks_event_reasons.active that mean a GPU slower than it could be (NVML's documentation)."""
DROP_CACHES = "sudo sh -c 'sync; echo 3 > /proc/sys/vm/drop_caches'"


@dataclass(frozen=True, slots=True)
class Machine:
    """Facts about a machine. Sizes are in bytes; unknown values are empty strings or zeros."""

    system: str = ""
    python: str = ""
    cores: int = 0
    memory: int = 0
    memory_free: int = 0
    nvidia_gpu: str = ""
    """The name that nvidia-smi reports, also where torch cannot use the GPU."""
    driver: str = ""
    torch: str = ""
    torch_cuda: str = ""
    """CUDA version that torch was built with; empty for a CPU build."""
    device: str = "cpu"
    """The device that torch would draw with: cuda, mps or cpu."""
    card: str = ""
    capability: tuple[int, int] = (0, 0)
    architectures: tuple[str, ...] = ()
    """The architectures that torch has kernels for: sm_90, sm_120, ..."""
    unified: bool = False
    """The GPU shares the machine's memory (GB10, Jetson, Apple)."""
    card_memory: int = 0
    card_free: int = 0
    triton: str = ""
    ptxas: str = ""
    """Path of the assembler that Triton calls."""
    ptxas_knows: bool = True
    """Whether ptxas supports the card's architecture."""
    toolkit_ptxas: str = ""
    """Path of the CUDA toolkit's ptxas where that supports the card's architecture."""
    page_cache: int = 0
    """Bytes of files that the system keeps in memory and gives back when they are needed."""
    cuda_free: int = 0
    """What CUDA itself reports as free: with unified memory the page cache counts as used there."""
    clock: int = 0
    """MHz of the GPU's multiprocessors now."""
    busy: int = 0
    """Percent of time that the GPU worked in the last second."""
    capped: tuple[str, ...] = ()
    """Why the GPU's clock is held down now: power cap, heat, ..."""
    compiler: str = ""
    cache: str = ""
    cache_bytes: int = 0
    disk_free: int = 0


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one check. `state` is fine, advice (could be better) or broken (drawing will fail or be wrong)."""

    topic: str
    state: str
    what: str
    change: str = ""
    """What the user can do; empty where `state` is fine."""


def look() -> Machine:
    """Collects the facts of this machine. Imports torch, which takes a few seconds the first time."""
    smi = _nvidia_smi()
    total, free = _memory()
    cache = hub_cache()
    near = next((p for p in (cache, *cache.parents) if p.exists()), Path.home())
    facts: dict[str, Any] = {
        "system": f"{platform.system()} {platform.release()}, {platform.machine()}",
        "python": platform.python_version(),
        "cores": os.cpu_count() or 0,
        "memory": total,
        "memory_free": free,
        "nvidia_gpu": smi[0],
        "driver": smi[1],
        "compiler": next((found for name in ("cc", "gcc", "clang") if (found := shutil.which(name))), ""),
        "cache": str(cache),
        "cache_bytes": sum(f.stat().st_size for f in cache.rglob("blobs/*") if f.is_file()) if cache.is_dir() else 0,
        "disk_free": shutil.disk_usage(near).free,
    }
    return Machine(**facts, **_page_cache(), **_clocks(), **_torch_facts(free))


def judge(machine: Machine) -> list[Finding]:
    """Runs all checks, the most basic ones first."""
    return [
        finding
        for check in (_system, _torch, _gpu, _driver, _power, _free, _page_cache_of, _compile, _disk)
        for finding in check(machine)
    ]


def doctor() -> str:
    """Returns the findings as text: a line for each, with what to change below it."""
    lines = []
    for finding in judge(look()):
        lines.append(f"{finding.state:>7}  {finding.topic}: {finding.what}")
        if finding.change:
            lines.append(f"{'':>9}-> {finding.change}")
    return "\n".join(lines)


def describe() -> dict[str, Any]:
    """Returns facts and findings for get_status as JSON values: {facts, findings}, without findings that are fine."""
    machine = look()
    facts = asdict(machine) | {"capability": ".".join(map(str, machine.capability))}
    return {"facts": facts, "findings": [asdict(f) for f in judge(machine) if f.state != "fine"]}


def free_bytes(device: str) -> int:
    """Returns the bytes that a model on `device` ('cpu', 'mps', 'cuda', 'cuda:0') may still allocate.

    Where GPU and CPU share their memory, CUDA counts the page cache as used. The system's available memory is counted
    then, as on a CPU.
    """
    if device.startswith("cuda"):
        import torch

        # memory that torch has reserved and not allocated is free for the next model and drawing
        idle = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        shared = torch.cuda.get_device_properties(device).is_integrated
        return (_memory()[1] if shared else torch.cuda.mem_get_info(device)[0]) + idle
    return _memory()[1]


def hub_cache() -> Path:
    """Returns the folder of the Hugging Face cache, by the rules of huggingface_hub."""
    if named := os.environ.get("HF_HUB_CACHE"):
        return Path(named).expanduser()
    home = os.environ.get("HF_HOME") or Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "huggingface"
    return Path(home).expanduser() / "hub"


def _memory() -> tuple[int, int]:
    """Returns (total, available) bytes of the machine."""
    import psutil

    memory = psutil.virtual_memory()
    return memory.total, memory.available


def _nvidia_smi() -> tuple[str, str]:
    """Returns (name of the GPU, version of the driver), empty strings without an NVIDIA driver."""
    found = _run(["nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader"])
    first = found.splitlines()[0] if found else ""
    name, _, driver = first.rpartition(",")
    return name.strip(), driver.strip()


def _page_cache() -> dict[str, Any]:
    import psutil

    memory = psutil.virtual_memory()
    return {"page_cache": getattr(memory, "cached", 0) + getattr(memory, "buffers", 0)}


def _clocks() -> dict[str, Any]:
    """Returns clock, busy and capped; nothing where nvidia-smi does not say. A value may be [N/A] on GB10."""
    fields = "clocks.sm,utilization.gpu,clocks_event_reasons.active"
    found = _run(["nvidia-smi", f"--query-gpu={fields}", "--format=csv,noheader,nounits"])
    return read_clocks(found.splitlines()[0]) if found else {}


def read_clocks(line: str) -> dict[str, Any]:
    """Reads clock, busy and capped from nvidia-smi's line `1410, 97, 0x0000000000000004`; leaves out unknown values."""
    values = [value.strip() for value in line.split(",")]
    facts: dict[str, Any] = {}
    for name, value in zip(("clock", "busy"), values, strict=False):
        if value.isdecimal():
            facts[name] = int(value)
    if len(values) == 3 and re.fullmatch(r"0x[0-9a-fA-F]{1,16}", values[2]):
        active = int(values[2], 16)
        facts["capped"] = tuple(dict.fromkeys(name for bit, name in _CAPPED.items() if active & bit))
    return facts


def _run(command: list[str]) -> str:
    if not shutil.which(command[0]):
        return ""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout if done.returncode == 0 else ""


def _torch_facts(free: int) -> dict[str, Any]:
    try:
        import torch
    except ImportError:
        return {}
    facts: dict[str, Any] = {"torch": torch.__version__, "torch_cuda": torch.version.cuda or "", "triton": _triton()}
    if torch.cuda.is_available():
        card = torch.cuda.get_device_properties(0)
        capability = (card.major, card.minor)
        ptxas, name = _ptxas(), f"sm_{card.major}{card.minor}"
        knows = not ptxas or name in _run([ptxas, "--help"])
        facts |= {
            "device": "cuda",
            "card": card.name,
            "capability": capability,
            "architectures": tuple(torch.cuda.get_arch_list()),
            "unified": bool(card.is_integrated),
            "card_memory": card.total_memory,
            "card_free": free_bytes("cuda"),
            "ptxas": ptxas,
            "cuda_free": torch.cuda.mem_get_info()[0],
            "ptxas_knows": knows,
            "toolkit_ptxas": "" if knows or name not in _run([str(TOOLKIT), "--help"]) else str(TOOLKIT),
        }
    elif torch.backends.mps.is_available():
        facts |= {"device": "mps", "card": "Apple GPU", "unified": True, "card_memory": free, "card_free": free}
    return facts


def _triton() -> str:
    try:
        return importlib.metadata.version("triton")
    except importlib.metadata.PackageNotFoundError:
        return ""


def _ptxas() -> str:
    """Returns the ptxas that Triton calls: the one that the environment names, else the newest that it ships."""
    for name in ("TRITON_PTXAS_BLACKWELL_PATH", "TRITON_PTXAS_PATH"):
        if (named := os.environ.get(name)) and Path(named).is_file():
            return named
    import importlib.util

    spec = importlib.util.find_spec("triton")
    if spec is None or not spec.submodule_search_locations:
        return ""
    folder = Path(next(iter(spec.submodule_search_locations))) / "backends" / "nvidia" / "bin"
    return next((str(folder / name) for name in ("ptxas-blackwell", "ptxas") if (folder / name).is_file()), "")


def _system(m: Machine) -> Iterator[Finding]:
    old = sys.version_info < (3, 11)
    yield Finding(
        "system",
        "broken" if old else "fine",
        f"{m.system}, Python {m.python}, {m.cores} cores, {_gb(m.memory)} memory",
        "Use Python 3.11 or later." if old else "",
    )


def _torch(m: Machine) -> Iterator[Finding]:
    if not m.torch:
        yield Finding("torch", "broken", "PyTorch is not installed.", "Install dgx-pixels again: it brings PyTorch.")
    elif m.nvidia_gpu and not m.torch_cuda:
        yield Finding(
            "torch",
            "broken",
            f"torch {m.torch} is a CPU build, but the machine has an {m.nvidia_gpu}.",
            "Install a CUDA build: pip install --force-reinstall 'torch>=2.13' (also on aarch64, where torch before "
            "2.11 was CPU only).",
        )
    elif m.capability == GB10 and int(m.torch_cuda.partition(".")[0] or 0) < 13:
        yield Finding(
            "torch",
            "advice",
            f"torch {m.torch} was built for CUDA {m.torch_cuda}, which is older than this GPU.",
            "Install a build for CUDA 13: pip install --upgrade 'torch>=2.13' (the package index has it for aarch64).",
        )
    else:
        build = f"CUDA {m.torch_cuda}" if m.torch_cuda else "CPU build"
        yield Finding("torch", "fine", f"{m.torch}, {build}")


def _gpu(m: Machine) -> Iterator[Finding]:
    if m.device == "cpu":
        what = "none: the embedded model draws on the CPU (a sprite takes well under a second); SDXL takes minutes."
        yield Finding("GPU", "advice" if m.nvidia_gpu else "fine", what)
        return
    if m.device == "mps":
        yield Finding("GPU", "fine", "Apple GPU, unified memory")
        return
    kind = "unified memory" if m.unified else f"{_gb(m.card_memory)} of its own"
    what = f"{m.card}, capability {m.capability[0]}.{m.capability[1]}, {kind}"
    if m.architectures and not _has_kernels(m):
        yield Finding(
            "GPU",
            "broken",
            f"{what}; torch {m.torch} has no kernels for it ({', '.join(m.architectures)}).",
            "Install the newest torch; for a card older than those listed, an older one.",
        )
    else:
        yield Finding("GPU", "fine", what)


def _has_kernels(m: Machine) -> bool:
    """Kernels of the same major architecture and an equal or lower minor one run (sm_120 serves GB10's 12.1)."""
    major, minor = m.capability
    for name in m.architectures:
        if found := re.match(r"(sm|compute)_(\d+)(\d)[af]?$", name):
            kind, theirs = found[1], (int(found[2]), int(found[3]))
            if (kind == "sm" and theirs[0] == major and theirs[1] <= minor) or (
                kind == "compute" and theirs <= (major, minor)
            ):
                return True
    return False


def _driver(m: Machine) -> Iterator[Finding]:
    if m.nvidia_gpu and m.torch_cuda and m.device != "cuda":
        yield Finding(
            "driver",
            "broken",
            f"driver {m.driver} does not serve torch's CUDA {m.torch_cuda}.",
            "Update the NVIDIA driver (580 or later for CUDA 13), or install a torch built for an older CUDA.",
        )
    elif m.driver:
        yield Finding("driver", "fine", m.driver)


def _power(m: Machine) -> Iterator[Finding]:
    if m.device != "cuda" or not m.clock:
        return
    what = f"{m.clock} MHz at {m.busy} % load"
    if m.capability == GB10 and m.busy >= BUSY and m.clock < SLOW_CLOCK:
        yield Finding(
            "power",
            "broken",
            f"{what}: the GPU is held down, as after a failed negotiation with its power supply.",
            "Shut down, take the supply's plug out of the wall and its cable out of the machine, wait a minute, start "
            "again. Use the supply that came with it. If it stays, it is a case for the maker.",
        )
    elif m.busy >= BUSY and m.capped:
        change = "Check supply and cooling; nvidia-smi -q -d PERFORMANCE says more."
        yield Finding("power", "advice", f"{what}, held down by {', '.join(m.capped)}", change)
    elif m.capability == GB10 and m.busy < BUSY:
        yield Finding("power", "fine", f"{what}; a power cap shows only while the GPU works: run this while it draws")
    else:
        yield Finding("power", "fine", what)


def _free(m: Machine) -> Iterator[Finding]:
    if m.device == "cpu":
        yield Finding("free memory", "fine", f"{_gb(m.memory_free)} of {_gb(m.memory)}")
        return
    total = m.memory if m.unified else m.card_memory
    what = f"{_gb(m.card_free)} of {_gb(total)}"
    if m.card_free < SDXL_BYTES:
        change = f"SDXL needs {_gb(SDXL_BYTES)}: end other programs on the GPU (nvidia-smi lists them)."
        if m.unified:
            change = f"SDXL needs {_gb(SDXL_BYTES)}: end other programs; here they share the GPU's memory."
        yield Finding("free memory", "advice", what, change)
    else:
        yield Finding("free memory", "fine", what)


def _page_cache_of(m: Machine) -> Iterator[Finding]:
    """Warns of other programs on unified memory: CUDA counts the page cache as used, which `free_bytes` does not."""
    if not m.unified or m.device != "cuda":
        return
    what = (
        f"{_gb(m.page_cache)} of files in memory; CUDA reports {_gb(m.cuda_free)} free, really {_gb(m.card_free)} are"
    )
    if m.cuda_free < SDXL_BYTES <= m.card_free:
        change = f"dgx-pixels counts it as free; where another program finds no memory: {DROP_CACHES}"
        yield Finding("page cache", "advice", what, change)
    else:
        yield Finding("page cache", "fine", what)


def _compile(m: Machine) -> Iterator[Finding]:
    if m.device != "cuda":
        return
    if not m.triton:
        yield Finding("compiling", "advice", "Triton is missing.", "pip install triton: SDXL steps get faster.")
    elif not m.compiler:
        yield Finding("compiling", "advice", "no C compiler.", "Install gcc (Triton builds its launcher with it).")
    elif not m.ptxas_knows:
        yield Finding(
            "compiling",
            "advice",
            f"Triton {m.triton}'s ptxas ({m.ptxas}) does not know sm_{m.capability[0]}{m.capability[1]}.",
            f"Use the CUDA toolkit's: export TRITON_PTXAS_PATH={m.toolkit_ptxas}"
            if m.toolkit_ptxas
            else "Update torch (2.13 brings Triton 3.7), or install the CUDA 13 toolkit and export "
            f"TRITON_PTXAS_PATH={TOOLKIT}",
        )
    else:
        yield Finding("compiling", "fine", f"Triton {m.triton}, {m.compiler}")


def _disk(m: Machine) -> Iterator[Finding]:
    what = f"{_gb(m.disk_free)} free; {_gb(m.cache_bytes)} of models in {m.cache}"
    if m.disk_free < SDXL_DISK:
        change = f"SDXL needs {_gb(SDXL_DISK)}: make room, or set HF_HOME to a folder on a larger disk."
        yield Finding("disk", "advice", what, change)
    else:
        yield Finding("disk", "fine", what)


def _gb(size: int) -> str:
    return f"{size / 2**30:.0f} GB" if size >= 10 << 30 else f"{size / 2**30:.1f} GB"
