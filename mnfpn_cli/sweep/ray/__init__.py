"""Plan and measure sweeps on the nodes of a Ray cluster."""
