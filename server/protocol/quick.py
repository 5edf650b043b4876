"""Start FastMCP without its docstring parser, and accept `initialize` after a probe over stdio."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from fastmcp import FastMCP


class _NoState:
    """A session's state that is always empty."""

    async def get(self, key: str) -> None:
        """Finds nothing under any key."""


class QuickFastMCP(FastMCP):
    """Takes a tool's or prompt's docstring as its description, unchanged.

    fastmcp looks for parameter sections in docstrings with griffe, which takes an eighth of the start to load. Our
    parameters are described in their annotations, so functions are handed on without their docstrings.
    """

    _keeps_state = True

    def tool(self, name_or_fn: Any = None, **options: Any) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        """As FastMCP.tool, with the server's icon."""
        options.setdefault("icons", self.icons)
        return _described(super().tool, name_or_fn, options)

    def prompt(self, name_or_fn: Any = None, **options: Any) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        """As FastMCP.prompt."""
        return _described(super().prompt, name_or_fn, options)

    @property
    def _state_store(self) -> Any:
        """What fastmcp keeps of a session. It asks for it at every list of tools.

        Nothing is kept over stdio, and fastmcp's own store takes 0.25 processor seconds to import.
        """
        return super()._state_store if self._keeps_state else _NoState()

    async def run_stdio_async(
        self, show_banner: bool = False, log_level: str | None = None, stateless: bool = False
    ) -> None:
        """Serves one client over stdin and stdout until it leaves."""
        self._keeps_state = False
        from fastmcp.server.context import reset_transport, set_transport
        from fastmcp.utilities.logging import temporary_log_level
        from mcp.server.stdio import stdio_server

        from server.protocol.probes import serve_after_probes

        options = self._mcp_server.create_initialization_options()
        token = set_transport("stdio")
        try:
            with temporary_log_level(log_level):
                async with self._lifespan_manager(), stdio_server() as (read, write):
                    await serve_after_probes(lambda r, w: self._mcp_server.run(r, w, options), read, write)
        finally:
            reset_transport(token)


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
