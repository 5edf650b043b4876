"""Training of the embedded model: data, captions, objective, loop, distillation."""
