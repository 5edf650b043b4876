"""Sprites: drawing, choosing among candidates, editing."""
