"""Audit a traced network: its layer tree, findings, pyramids, and the totals of other counters."""
