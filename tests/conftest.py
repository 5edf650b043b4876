"""For all tests: one thread of torch in each worker, and the same examples of Hypothesis in every run."""

import os

from hypothesis import HealthCheck, settings

# Two workers with two threads each on two cores wait for each other. Workers of training jobs inherit it.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pipelines  # noqa: F401  # pyright: ignore[reportUnusedImport]  # before torch (decision 0030)

# A run fails for everybody or for nobody; `make fuzz` looks for new cases. A busy machine is not a failure.
settings.register_profile("tests", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("tests")
