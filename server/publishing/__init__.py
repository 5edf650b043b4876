"""What publishes the server: launcher, bundle, icon, skill."""
