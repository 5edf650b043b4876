"""Draw on several devices, and on several machines, by Ray (`pip install 'dgx-pixels[cluster]'`)."""
