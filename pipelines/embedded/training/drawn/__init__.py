"""Training pictures that a program draws: common things that the packs of sprites lack, and folk of other races."""
