"""For all tests: the package comes before torch, whose threads it tells to sleep while they wait (decision 0030)."""

import pipelines  # noqa: F401  # pyright: ignore[reportUnusedImport]
