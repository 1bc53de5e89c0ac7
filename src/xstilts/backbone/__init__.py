"""The encoder: loading it, where modules attach, and running it fast."""
