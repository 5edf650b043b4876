"""Answer terminal studios (`dgx-pixels studio --connect`) beside assistants, over the same studio."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

from fastmcp import FastMCP
from fastmcp.server.auth import AuthProvider

from server.desk.local import LocalDesk
from server.desk.service import READS, desk_routes
from server.protocol.users import audit_log, caller, working_for, write_line
from server.studio import Studio
from server.users import User, Users
from server.version import package_version


def serve_desk(mcp: FastMCP, studio: Studio, auth: AuthProvider, users: Users | None) -> None:
    """Adds the routes of the desk. A token lets in whom it lets in to the tools, with the same games and limits.

    FastMCP checks Host and Origin before the routes are reached.
    """
    data_dir = studio.settings.data_dir
    audit = audit_log(data_dir) if users is not None else None

    async def admit(token: str, method: str) -> AbstractContextManager[None] | None:
        access = await auth.verify_token(token)
        if access is None:
            return None
        return confined(caller(users, access) if users else None, method)

    @contextmanager
    def confined(user: User | None, method: str) -> Iterator[None]:
        outcome = "error"
        try:
            with working_for(user, data_dir):
                yield
            outcome = "ok"
        finally:
            if audit is not None and method not in READS:
                write_line(audit, user, f"studio: {method}", outcome)

    for route in desk_routes(lambda project: LocalDesk(lambda: studio, project), admit, package_version()):
        mcp.custom_route(route.path, sorted(route.methods or ()), include_in_schema=False)(route.endpoint)
