"""Put assets into a game and take them back."""
