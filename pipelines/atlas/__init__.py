"""Atlases: sprites and sheets packed into one picture, with layouts, bodies and layers. Imports no torch."""
