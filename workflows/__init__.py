"""Whole jobs as data: JSON files of named steps, their schema, and the runner that does them and resumes them."""
