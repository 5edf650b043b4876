"""One module a group of tools; each has `register(mcp, studio)` and is listed in `server.protocol.app.TOOL_MODULES`."""
