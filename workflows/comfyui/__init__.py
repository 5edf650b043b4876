"""Recipes as ComfyUI API workflows and back, and the templates that ship (*.json)."""
