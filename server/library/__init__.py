"""The library of what was made: records and their SQLite store."""
