"""Plots of what was measured, made once for pages and pictures alike. Colours of text and lines are the reader's."""
