"""Draw pixels: models, the engine that schedules the device, the denoising loop, and the finishing of pictures."""

import os

# Two threads of PyTorch's OpenMP that spin while they wait for each other take 3 x as long beside a running game
# (docs/decisions/0030). It is read when torch is loaded, which only modules of this package do.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
