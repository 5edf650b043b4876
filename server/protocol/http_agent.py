"""Answer the agents of games on other machines (`dgx-pixels agent`) beside assistants, over the same studio."""

from __future__ import annotations

from fastmcp import FastMCP

from server.agent.routes import agent_routes
from server.protocol.users import audit_log, write_line
from server.studio import Studio
from server.users import User, Users


def serve_agents(mcp: FastMCP, studio: Studio, users: Users) -> None:
    """Adds the routes of agents. Their messages are signed by a user's token; the token of the settings is no user's.

    FastMCP checks Host and Origin before the routes are reached.
    """
    audit = audit_log(studio.settings.data_dir)

    def registered(user: User, game: str) -> None:
        write_line(audit, user, "agent: register", "ok", project=f"{user.name}/{game}")

    for route in agent_routes(lambda: studio.remote, users, registered):
        mcp.custom_route(route.path, sorted(route.methods or ()), include_in_schema=False)(route.endpoint)
