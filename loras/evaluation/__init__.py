"""Proof that training teaches: two made-up styles, distances fixed in advance, p-values. Run by `make eval-lora`."""
