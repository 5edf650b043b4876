"""Publish the server: launcher, bundle, icon, skill."""
