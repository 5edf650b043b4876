"""Comparisons of models and LoRAs: drawing, votes, ranking, pictures."""
