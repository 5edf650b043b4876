"""The version of the package."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version


def package_version() -> str:
    """Returns this package's version; `0+unknown` where it is not installed."""
    try:
        return version("dgx-pixels")
    except PackageNotFoundError:
        return "0+unknown"
