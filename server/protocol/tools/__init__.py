"""One module for each group of tools, with `register(mcp, studio)`; `server.protocol.app.TOOL_MODULES` lists them."""
