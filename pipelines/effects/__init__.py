"""Effects: animated particles on the pixel grid, in the colours of the game. Imports no torch."""
