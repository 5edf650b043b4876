"""The catalog of models, their presets, and the files of the hub."""
