"""What the product does, one module for each feature. Tools, commands and workflow steps call these."""
