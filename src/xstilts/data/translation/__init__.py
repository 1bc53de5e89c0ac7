"""Machine translation of training rows."""
