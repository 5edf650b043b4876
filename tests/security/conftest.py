"""The fixtures of the server's tests: a game on disk and a studio on a fake backend."""

from tests.server.conftest import backend, game, golem, settings, studio

__all__ = ["backend", "game", "golem", "settings", "studio"]
