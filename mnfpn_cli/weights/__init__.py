"""Checkpoints: reading them without running code, finding out whose they are, and putting them into a network."""
