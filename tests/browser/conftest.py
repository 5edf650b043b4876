"""The results page and the studio in Chromium. Collected only with DGX_PIXELS_BROWSER=1 (`make test-gallery`)."""

from __future__ import annotations

import os

if not os.environ.get("DGX_PIXELS_BROWSER"):
    collect_ignore_glob = ["test_*.py"]
