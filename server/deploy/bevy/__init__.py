"""The game's side of the server: what a Bevy project needs, and what a running game shows. Imports no torch."""
