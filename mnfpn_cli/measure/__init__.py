"""The loop that takes samples, when it ends, statistics of samples, and what makes them less sure than they seem."""
