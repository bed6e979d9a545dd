"""Networks timed: on devices, by runtimes, side by side."""
