"""The terminal studio `dgx-pixels studio`: screens in Textual over the features, for a person without an assistant."""
