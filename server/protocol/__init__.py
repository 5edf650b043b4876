"""The MCP server: FastMCP app, transports, tasks, tools. The only package that imports fastmcp."""
