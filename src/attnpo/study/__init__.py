"""Studies on the small world: arms of one budget side by side, and the comparison table of all methods."""
