"""What a precision costs: inputs to calibrate with and to judge by, figures of quality, and the noise of each layer."""
