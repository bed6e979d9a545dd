"""Measuring the cells of a sweep: each in a process of its own, here or on the nodes of a cluster."""
