"""Measure: the engine that takes samples, their statistics, memory and peaks, and warnings of unsteady conditions.

`libraries` turns what libraries raise into words, and silences what they print.
"""
