"""What an assistant talks to: MCP server, tools, resources, command line, the game's project and its library."""
