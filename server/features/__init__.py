"""The features, one module for each. Tools, commands and workflow steps call them."""
