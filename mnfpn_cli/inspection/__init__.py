"""What runs when a network runs: layers, shapes, cost, memory; and what is wrong with it. Any `nn.Module`."""
