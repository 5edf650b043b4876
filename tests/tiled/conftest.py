"""Tilesets seen by Tiled's own tools. Collected only with DGX_PIXELS_TILED=1 (`make test-tiled`)."""

from __future__ import annotations

import os

if not os.environ.get("DGX_PIXELS_TILED"):
    collect_ignore_glob = ["test_*.py"]
