"""Export: write a network to a file for other programs, and check the file."""
