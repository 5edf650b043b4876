"""The motion model: paints a walk in four directions from one front view, and maps the parts of a larger figure."""
