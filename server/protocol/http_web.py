"""Serve the studio's page to browsers, beside assistants and over the same studio."""

from __future__ import annotations

from functools import partial

from fastmcp import FastMCP
from fastmcp.server.auth import AuthProvider

from server.errors import ServerError
from server.protocol.users import audit_log, caller, working_for, write_line
from server.studio import Studio
from server.users import Users
from server.version import package_version
from server.web.guard import Person
from server.web.routes import web_routes


def serve_web(mcp: FastMCP, studio: Studio, auth: AuthProvider, users: Users | None) -> None:
    """Adds the page's routes. A token that the tools accept logs in here, with the same games and limits.

    FastMCP checks Host and Origin before the routes are reached.
    """
    data_dir = studio.settings.data_dir
    audit = audit_log(data_dir) if users is not None else None

    async def admit(token: str) -> Person | None:
        access = await auth.verify_token(token)
        if access is None:
            return None
        try:
            user = caller(users, access) if users else None
        except ServerError:  # removed a moment ago
            return None

        def note(what: str, outcome: str, **more: str) -> None:
            if audit is not None:
                write_line(audit, user, what, outcome, **more)

        return Person(
            name=user.name if user else "",
            games=(*map(str, user.projects), *studio.remote.names(user.name)) if user else (),
            working=partial(working_for, user, data_dir),
            note=note,
        )

    for route in web_routes(studio, admit, package_version()):
        mcp.custom_route(route.path, sorted(route.methods or ()), include_in_schema=False)(route.endpoint)
