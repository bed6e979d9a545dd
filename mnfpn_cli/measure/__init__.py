"""Measure: the engine that takes samples, their statistics, memory and peaks, and warnings of unsteady conditions."""
