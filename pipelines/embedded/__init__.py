"""The model that ships in the package: its architecture, weights, trainer and evaluation."""
