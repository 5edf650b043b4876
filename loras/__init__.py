"""What teaches a model a style: datasets, training, export, jobs, and the registry of LoRA files."""
