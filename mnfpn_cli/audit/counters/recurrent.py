"""What counters say of recurrent layers, each by its own formula."""

from math import prod

from torch import nn

from mnfpn_cli.trace.observe import Shape

LAYERS: tuple[type[nn.Module], ...] = (nn.RNN, nn.GRU, nn.LSTM)
CELLS: tuple[type[nn.Module], ...] = (nn.RNNCell, nn.GRUCell, nn.LSTMCell)


def by_weights(module: nn.Module, inputs: Shape, flops: bool) -> int:
    """The formula of ptflops (``rnn_flops``) and, with ``flops``, that of calflops, which doubles its products."""
    if isinstance(module, nn.RNNCellBase):
        return inputs[0] * _layer(module, "", flops)
    assert isinstance(module, nn.RNNBase)
    layers = sum(_layer(module, f"_l{index}", flops) for index in range(module.num_layers))
    return prod(inputs[:2]) * layers * (2 if module.bidirectional else 1)


def _layer(module: nn.RNNBase | nn.RNNCellBase, suffix: str, flops: bool) -> int:
    """One step of one layer in one direction."""
    entry, state = (module.get_parameter(f"weight_{name}{suffix}") for name in ("ih", "hh"))
    products = entry.numel() + state.numel()
    if flops:
        products = 2 * (products - entry.shape[0])
    biases = 2 * entry.shape[0] if module.bias else 0
    elementwise = {"RNN": 1, "GRU": 7, "LSTM": 10}[_kind(module)]
    return products + biases + elementwise * int(module.hidden_size)


def by_gates(module: nn.Module, inputs: Shape) -> int:
    """The formula of thop (``rnn_hooks.py``)."""
    if isinstance(module, nn.RNNCellBase):
        return inputs[0] * _gates(module, module.input_size)
    assert isinstance(module, nn.RNNBase)
    directions = 2 if module.bidirectional else 1
    sizes = [module.input_size] + [module.hidden_size * directions] * (module.num_layers - 1)
    return prod(inputs[:2]) * directions * sum(_gates(module, size) for size in sizes)


def _gates(module: nn.RNNBase | nn.RNNCellBase, entry: int) -> int:
    hidden = int(module.hidden_size)
    gate = (entry + hidden) * hidden + hidden + (2 * hidden if module.bias else 0)
    gates, elementwise = {"RNN": (1, 0), "GRU": (3, 4), "LSTM": (4, 4)}[_kind(module)]
    return gates * gate + elementwise * hidden


def _kind(module: nn.Module) -> str:
    return type(module).__name__.removesuffix("Cell")
