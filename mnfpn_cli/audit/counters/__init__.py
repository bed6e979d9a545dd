"""What other counters print for a network: the rules of each, on what was recorded of a pass."""
