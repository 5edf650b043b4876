"""Read memory, power, temperature and load of NVIDIA GPUs from NVML, where its library is (nvidia-ml-py).

NVML does not tell everything of every device: a GB10 has no memory of its own. What it does not tell is left out.
API: NVML's reference, "Device Queries".
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from types import ModuleType
from typing import Any

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

Read = Callable[[Any, Any], float]
"""(pynvml, the GPU's handle) -> value."""
SENSOR = 0
"""NVML_TEMPERATURE_GPU."""
READINGS: dict[str, tuple[str, dict[str, Read]]] = {
    "memory_bytes": (
        "Memory of a GPU.",
        {
            "used": lambda nvml, device: nvml.nvmlDeviceGetMemoryInfo(device).used,
            "free": lambda nvml, device: nvml.nvmlDeviceGetMemoryInfo(device).free,
        },
    ),
    "power_watts": ("Power that a GPU draws.", {"": lambda nvml, device: nvml.nvmlDeviceGetPowerUsage(device) / 1000}),
    "celsius": ("Temperature of a GPU.", {"": lambda nvml, device: nvml.nvmlDeviceGetTemperature(device, SENSOR)}),
    "load_ratio": (
        "Share of time in which a GPU works.",
        {"": lambda nvml, device: nvml.nvmlDeviceGetUtilizationRates(device).gpu / 100},
    ),
}
"""Name of the metric -> its help, and what is read: by the label `part` where there are several values."""


class Gpus(Collector):
    """The GPUs of this machine, all of them."""

    def __init__(self, nvml: Any = None) -> None:
        """`nvml` replaces the module pynvml in tests."""
        self._nvml: Any = nvml or _load()

    def describe(self) -> Iterable[Metric]:
        """Returns nothing: a registry asks for names only to find two of one name."""
        return []

    def collect(self) -> Iterable[Metric]:
        """See `prometheus_client.registry.Collector`."""
        nvml = self._nvml
        devices = [nvml.nvmlDeviceGetHandleByIndex(i) for i in range(nvml.nvmlDeviceGetCount())] if nvml else []
        for name, (text, parts) in READINGS.items():
            labels = ["gpu", "part"] if len(parts) > 1 else ["gpu"]
            family = GaugeMetricFamily(f"dgx_pixels_gpu_{name}", text, labels=labels)
            for number, device in enumerate(devices):
                for part, read in parts.items():
                    with suppress(nvml.NVMLError):  # this GPU does not tell it
                        family.add_metric([str(number), *filter(None, [part])], read(nvml, device))
            yield family


def _load() -> ModuleType | None:
    """Returns pynvml, ready to ask; None without the package, the driver or a GPU."""
    try:
        import pynvml
    except ImportError:
        return None
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return None
    return pynvml
