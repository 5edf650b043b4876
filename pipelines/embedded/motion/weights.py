"""Load the shipped motion networks; each is read once and kept."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from pipelines.embedded.motion.network import SheetNet
from pipelines.embedded.motion.parts import PartNet
from pipelines.embedded.motion.sides import SideNet

FOLDER = Path(__file__).parent
"""Where sheet.safetensors, sides.safetensors and parts.safetensors lie, with their model card."""


@cache
def sheet_net() -> SheetNet:
    """Returns the walk sheet network, fp32 on the CPU, in evaluation mode (43 MB)."""
    from safetensors.torch import load_file

    net = SheetNet()
    net.load_state_dict({name: weight.float() for name, weight in load_file(FOLDER / "sheet.safetensors").items()})
    return net.eval()


@cache
def side_net() -> SideNet:
    """Returns the side judge, fp32 on the CPU, in evaluation mode (0.5 MB)."""
    from safetensors.torch import load_file

    net = SideNet()
    net.load_state_dict({name: weight.float() for name, weight in load_file(FOLDER / "sides.safetensors").items()})
    return net.eval()


@cache
def part_net() -> PartNet:
    """Returns the part map network, fp32 on the CPU, in evaluation mode (5 MB)."""
    from safetensors.torch import load_file

    net = PartNet()
    net.load_state_dict({name: weight.float() for name, weight in load_file(FOLDER / "parts.safetensors").items()})
    return net.eval()
