"""Writing a network to a file for other programs, and checking the file before anyone relies on it."""
