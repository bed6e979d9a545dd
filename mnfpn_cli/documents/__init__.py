"""Documents: one typed, frozen model for each result. No torch.

A command prints a document as JSON, a worker returns one, a store holds them, and files are read back into them.
"""
