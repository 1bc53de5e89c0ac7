"""How many draws a bootstrap makes; here, since command lines show it before numpy is loaded."""

DRAWS = 10_000
"""Of every bootstrap that nobody asks another number of."""
