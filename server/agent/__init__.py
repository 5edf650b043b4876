"""Games on other machines: `dgx-pixels agent` runs in a game's folder and asks the server what to do there."""
