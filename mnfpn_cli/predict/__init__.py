"""Models of one machine: the latency of runs that were not measured, with an interval, and which to measure next."""
