"""What makes pixels: models, the engine that owns the device, the denoise loop, and the finishing of pictures."""
