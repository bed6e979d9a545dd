"""Assertions about networks: what fails, with which words, and that the module is as before."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import mnfpn_cli.api as mnfpn
from mnfpn_cli.api import summary
from mnfpn_cli.errors import MnfpnError, UsageError
from mnfpn_cli.testing import assert_budget, assert_clean
from tests.testing.networks import Healthy, Listed, Tied

IMAGE = torch.zeros(1, 3, 32, 32)
SMALL = mnfpn.settings(overrides={"width_mult": 0.35, "pyramid.channels": 8})


@pytest.mark.parametrize("forward", [IMAGE, (IMAGE,), "1x3x32x32"], ids=["tensor", "tuple", "text"])
def test_a_clean_module_passes_and_is_as_before(forward: Any) -> None:
    """Its mode, weights and hooks too."""
    network = Healthy().train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    assert_clean(network, forward)
    assert network.training
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


@pytest.mark.parametrize("size", ["64x96", (64, 96), [64, 96], 64, None])
def test_settings_take_a_size(size: Any) -> None:
    """As everywhere in Python; there is a default."""
    assert_clean(SMALL, size=size)


def test_a_finding_fails_with_its_path_and_the_remedy() -> None:
    """The message is what the table of the audit says, without colours or options."""
    with pytest.raises(AssertionError) as failed:
        assert_clean(Listed(), size=32)
    assert str(failed.value).splitlines()[1:4:2] == [
        "Audit: 2 findings. 2 modules called, 2 registered.",
        f"  2 Conv2d in a plain list of Listed, networks.py:{Listed.__init__.__code__.co_firstlineno - 3}, used in the "
        "pass: no optimiser, no state dict and no .to(device) sees them",
    ]
    assert str(failed.value).splitlines()[2] == "unregistered: self.smooth[0], self.smooth[1]: 1,168 parameters"
    assert "  Remedy: self.smooth = nn.ModuleList(self.smooth)\n" in str(failed.value)


def test_a_finding_can_be_allowed() -> None:
    """Weights that are tied on purpose; what else is wrong still fails, and a stale allowance is named in Python."""
    assert_clean(Tied(), size=32, allow=["shared:head.*"])
    with pytest.raises(AssertionError, match="allow 'shared:neck' matches no finding"):
        assert_clean(Tied(), size=32, allow=["shared:neck"])


def test_a_budget_has_units_or_numbers_in_base_units() -> None:
    """A limit that is met exactly is not exceeded."""
    convolution = nn.Conv2d(3, 8, 3)
    assert_budget(convolution, IMAGE, macs="194.4k", parameters=224, peak_memory="1MiB")
    assert_budget(convolution, IMAGE, macs=194_400.0, parameters="0.224k", peak_memory=41_984)
    with pytest.raises(AssertionError):
        assert_budget(convolution, IMAGE, peak_memory=41_983)


def test_an_exceeded_budget_names_each_limit_and_the_largest_contributors() -> None:
    """By how much, and where to begin."""
    network = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 4, 1))
    with pytest.raises(AssertionError) as failed:
        assert_budget(network, size=32, macs="200k", parameters=200, peak_memory="16KiB")
    assert str(failed.value).splitlines() == [
        "torch.nn.modules.container:Sequential exceeds its budget. Input 1×3×32×32.",
        "  macs: 223.2 kMAC, limit 200.0 kMAC: 23.20 kMAC (11.6 %) too much",
        "    largest layers: 0 194.4 kMAC, 2 28.80 kMAC",
        "  parameters: 260, limit 200: 60 (30.0 %) too much",
        "    largest layers: 0 224, 2 36",
        "  peak_memory: 69.27 KiB, limit 16.00 KiB: 53.27 KiB (332.9 %) too much",
        "    1.016 KiB of weights, 68.25 KiB of activations at the peak",
        "    largest outputs: 0 7.200 k elements, 1 7.200 k elements, 2 3.600 k elements",
    ]


def test_the_peak_is_that_of_a_summary() -> None:
    """One number, wherever it is read."""
    memory = _summary_memory()
    assert_budget(SMALL, size=64, peak_memory=memory)
    with pytest.raises(AssertionError):
        assert_budget(SMALL, size=64, peak_memory=memory - 1)


def _summary_memory() -> int:
    return summary(SMALL, size=64).memory.peak


@pytest.mark.parametrize(
    ("arguments", "named", "message"),
    [
        (
            (3,),
            {"size": 64},
            "network: must be what settings() returns, an nn.Module, or a target as ",
        ),
        ((Healthy(),), {}, "passes: must be given for a network without settings: a tensor, a tuple of tensors"),
        ((Healthy(), IMAGE), {"size": 32}, "size: cannot be used with passes, which already gives the shape"),
        ((SMALL, IMAGE), {}, "passes: must be left out for a network from settings, which takes size"),
        (
            (Healthy(), 3),
            {},
            'passes: must be a tensor, a tuple of tensors, or a shape as "1x3x600x900", got an',
        ),
        ((Healthy(),), {"size": "big"}, "size: must be "),
        ((Healthy(), "1x3xbig"), {}, "passes: must be a shape, as 1x3x600x900 or 1x128:int64"),
        ((Healthy(),), {"size": 32, "allow": "shared:x"}, "allow: must be a list of texts, as ['shared:head.*'], got"),
    ],
)
def test_wrong_arguments_of_clean_are_refused(arguments: Any, named: Any, message: str) -> None:
    """With the argument, the rule and the value; not as a failed assertion."""
    with pytest.raises(UsageError) as error:
        assert_clean(*arguments, **named)
    assert str(error.value).startswith(message)


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        ({}, "macs, parameters or peak_memory must be given"),
        ({"macs": "1X"}, "macs: must be a number of 1 or more, as 5G, 5e9 or 4000000, got '1X'"),
        ({"macs": True}, "macs: must be a number, got True"),
        ({"parameters": -1}, "parameters: must be a number of 1 or more, as 5G, 5e9 or 4000000, got '-1'"),
        ({"parameters": float("nan")}, "parameters: must be a number of 1 or more, as 5G, 5e9 or 4000000, got 'nan'"),
        ({"peak_memory": "64 miles"}, "peak_memory: must be 1 byte or more, as 200MiB, 1.5GB or 2e8, got '64 miles'"),
    ],
)
def test_wrong_limits_are_refused(limits: Any, message: str) -> None:
    """As those of a sweep are."""
    with pytest.raises(UsageError) as error:
        assert_budget(Healthy(), IMAGE, **limits)
    assert str(error.value) == message


def test_a_network_that_fails_is_an_error_with_its_own_frames() -> None:
    """The network is broken, which is not the same as unclean."""

    class Broken(nn.Module):
        def forward(self, _image: Tensor) -> Tensor:
            raise ValueError("no such level")

    with pytest.raises(MnfpnError, match="ValueError: no such level") as error:
        assert_clean(Broken(), IMAGE)
    assert 'raise ValueError("no such level")' in "".join(error.value.__notes__)
