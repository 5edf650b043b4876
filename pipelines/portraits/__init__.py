"""Portraits: busts drawn from parts, for models that have learned no faces. Imports no torch."""
