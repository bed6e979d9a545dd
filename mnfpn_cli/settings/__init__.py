"""What a user may set: the network, its input and its measurement. What follows from settings is in `plan`."""
