"""Design spaces: the runs of a space, their planned cost, and the choice of runs to measure. No torch."""
