"""Train LoRAs: datasets, training, export, jobs, and the registry of LoRA files."""

# Before torch, in the worker too: it makes OpenMP's threads sleep while they wait (docs/decisions/0030).
import pipelines as pipelines
