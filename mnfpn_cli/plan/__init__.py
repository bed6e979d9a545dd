"""What follows from settings: every layer as plain data; shapes, cost and memory in closed form. No torch."""
