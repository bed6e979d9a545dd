"""Settings worked out: every layer as plain data, its shapes, parameters and MACs in closed form. No torch."""
