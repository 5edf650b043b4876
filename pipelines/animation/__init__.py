"""Animations: motion of a sprite's pixels, and sheets of frames."""
