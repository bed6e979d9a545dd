"""The runtime `fused`: a network's parts replaced by ones that do more at once."""
