"""What leaves mnfpn: one typed, frozen document for each result. No torch.

A document is what a command prints as JSON, what a worker returns, what a store keeps, and what files are read back as.
"""
