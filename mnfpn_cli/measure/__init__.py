"""What was observed on a real network: layers called, MACs counted, latency, memory. Results in base units."""
