"""Serve assistants, terminals and pages: MCP server, command line, features, library, deploys."""
