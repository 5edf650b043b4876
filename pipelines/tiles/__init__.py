"""Tilesets: sets of square tiles of which every legal neighbour fits to the pixel."""
