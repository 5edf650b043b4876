"""Set up logging for every process of the package: records go to standard error, one level for all four packages."""

from __future__ import annotations

import logging
import os
from typing import Literal

PACKAGES = ("server", "workflows", "loras", "pipelines")
VARIABLE = "DGX_PIXELS_LOG"

Level = Literal["debug", "info", "warning", "error"]


def set_up_logging(level: str = "") -> None:
    """Writes log records of `level` and above to standard error; may be called again to change the level.

    An empty `level` is read from DGX_PIXELS_LOG; what is not a level counts as "warning". Other libraries' records are
    written from "warning" on. Standard output stays free for the stdio transport.
    """
    name = (level or os.environ.get(VARIABLE, "")).strip().upper()
    number = logging.getLevelNamesMapping().get(name, logging.WARNING)
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    for package in PACKAGES:
        logging.getLogger(package).setLevel(number)
