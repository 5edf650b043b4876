"""`make bench`: how fast SDXL is here, beside the stock pipeline, with random weights and no download."""
