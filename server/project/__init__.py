"""The game: where it is, its style file, and edits of that file."""
