"""Finishing: from any picture to true pixel art. Arrays in, arrays out; no model, no queue, no project, no torch."""
