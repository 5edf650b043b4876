"""Schedule the device: the queue, the Protocol of what draws, and facts about the machine."""
