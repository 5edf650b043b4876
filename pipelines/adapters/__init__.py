"""LoRA files: key names, and stacks that are merged into resident weights."""
