"""The studio in a browser: one page that the HTTP server serves to people with a token."""
