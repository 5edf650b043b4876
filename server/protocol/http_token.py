"""Check the one token that clients of the HTTP server must send."""

from __future__ import annotations

import hmac

from fastmcp.server.auth import AccessToken, TokenVerifier


class OneToken(TokenVerifier):
    """Accepts requests that carry the token, compared in constant time."""

    def __init__(self, token: str) -> None:
        super().__init__()
        self._token = token.encode()

    async def verify_token(self, token: str) -> AccessToken | None:
        """Returns the caller's identity, or None for another token."""
        if hmac.compare_digest(token.encode(), self._token):
            return AccessToken(token=token, client_id="dgx-pixels", scopes=[])
        return None
