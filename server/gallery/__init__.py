"""The results page: one self-contained HTML file, written to disk or served on loopback."""
