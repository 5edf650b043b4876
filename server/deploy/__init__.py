"""Putting assets into a game and taking them back."""
