"""SDXL by stage: text encoders, denoising loop, decoding, loading, CUDA graphs."""
