"""What a watched pass shows: layers, findings, pyramids, and the figures of other counters."""
