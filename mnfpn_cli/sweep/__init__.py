"""Measure the runs of a sweep, each in a process of its own, on this machine or on a Ray cluster."""
