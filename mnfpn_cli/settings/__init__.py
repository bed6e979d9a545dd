"""What a person may say about a network and its input, and nothing that follows from it."""
