"""OpenMP's threads sleep while they wait (decision 0030): the policy is set before torch reads it."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("module", ["server.protocol.app", "server.cli.app", "server.terminal.app"])
def test_the_policy_is_set_before_torch_is_loaded(module: str) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
    code = f"import os, sys, {module}\nassert 'torch' not in sys.modules\nprint(os.environ['OMP_WAIT_POLICY'])"
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "PASSIVE"
