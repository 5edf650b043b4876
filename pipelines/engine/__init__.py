"""The queue that owns the device, the seam to what draws, and facts about the device."""
