"""Plots of measured runs and diagrams of networks, for pages and picture files. Pages set the colours of text."""
