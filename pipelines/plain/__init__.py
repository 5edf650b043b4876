"""Models that are drawn with by diffusers' own pipelines, without our loop and graphs."""
