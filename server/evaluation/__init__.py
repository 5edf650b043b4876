"""Evaluations of whole jobs on the embedded model: slow, with figures; `make eval-*` runs them."""
