"""Run jobs that are written as JSON files of named steps: schema, loader and a runner that resumes them."""
