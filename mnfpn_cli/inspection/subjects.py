"""Building what a command looks at."""

import torch
from torch import nn

from mnfpn_cli.inspection.passes import Input
from mnfpn_cli.models.load import check_arguments, load_model
from mnfpn_cli.models.subject import Subject
from mnfpn_cli.network.build import build_meta
from mnfpn_cli.plan.network import plan_network

SEED = 0
"""Of random weights: what a detector finds, and so computes, depends on them."""


def build_subject(subject: Subject) -> nn.Module:
    """The network, on the meta device where its settings say all, else as the code of others makes it.

    Raises:
        UsageError: where a target is none, or takes other inputs.
        ModelError: where its code fails.
    """
    if subject.settings is not None:
        return build_meta(plan_network(subject.settings))
    assert subject.target is not None
    network = load_model(subject.target, SEED)
    check_arguments(network, len(subject.inputs))
    return network


def inputs_of(subject: Subject) -> tuple[Input, ...]:
    """The inputs as torch has them."""
    return tuple(Input(one.shape, getattr(torch, one.dtype) if one.dtype else None) for one in subject.inputs)


def names_of(network: nn.Module, subject: Subject) -> tuple[str, ...]:
    """The names of what comes out, where the settings give some."""
    return tuple(str(name) for name in network.outputs) if subject.settings is not None else ()  # type: ignore[union-attr]
