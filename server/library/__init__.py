"""The library of assets: records and their SQLite store."""
