"""A FastMCP whose start does not wait for a docstring parser."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from fastmcp import FastMCP


class QuickFastMCP(FastMCP):
    """Takes a tool's or prompt's docstring as its description, word for word.

    fastmcp looks for parameter sections in docstrings with griffe, which takes an eighth of the start to load. Our
    parameters are described in their annotations, so functions are handed on without their docstrings.
    """

    def tool(self, name_or_fn: Any = None, **options: Any) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        """As FastMCP.tool."""
        return _described(super().tool, name_or_fn, options)

    def prompt(self, name_or_fn: Any = None, **options: Any) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        """As FastMCP.prompt."""
        return _described(super().prompt, name_or_fn, options)


def _described(register: Callable[..., Any], name_or_fn: Any, options: dict[str, Any]) -> Any:
    def add(function: Any) -> Any:
        options.setdefault("description", inspect.getdoc(function))
        function.__doc__ = None
        return register(function, **options)

    if callable(name_or_fn):
        return add(name_or_fn)
    if name_or_fn is not None:
        options["name"] = name_or_fn
    return add
