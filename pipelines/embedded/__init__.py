"""The model that ships in the package: architecture, weights, prompts, and the training of all of them."""
