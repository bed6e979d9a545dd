"""Published accuracy of networks, and estimates between published networks. No torch."""
