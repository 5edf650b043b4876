"""Check Bevy projects and ask running games. Imports no torch."""
