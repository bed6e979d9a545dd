"""Measuring the runs of a sweep: each in a process of its own, here or on the workers of a cluster."""
