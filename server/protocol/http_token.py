"""Who may use the HTTP server: whoever sends its one token."""

from __future__ import annotations

import hmac

from fastmcp.server.auth import AccessToken, TokenVerifier


class OneToken(TokenVerifier):
    """Lets in who sends the token, compared in constant time."""

    def __init__(self, token: str) -> None:
        super().__init__()
        self._token = token.encode()

    async def verify_token(self, token: str) -> AccessToken | None:
        """The caller's identity, or None where the token is another."""
        if hmac.compare_digest(token.encode(), self._token):
            return AccessToken(token=token, client_id="dgx-pixels", scopes=[])
        return None
