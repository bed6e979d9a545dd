"""fvcore's count of the reference network."""

from mnfpn_cli.bench.workload import count_with_fvcore
from mnfpn_cli.network.network import build_network
from mnfpn_cli.plan.rules import network_input
from mnfpn_cli.settings.input import Size
from mnfpn_cli.settings.network import NetworkSettings


def test_the_reference_network_has_fvcores_total() -> None:
    """30,138,754,224 for one image, whatever the batch."""
    counted = count_with_fvcore(
        build_network(NetworkSettings()), network_input(NetworkSettings(), Size(600, 900), batch=3)
    )
    assert counted.total == 30_138_754_224
    assert counted.by_operator == {
        "batch_norm": 2 * 71_788_144,
        "conv": 29_949_721_552,
        "upsample_bilinear2d": 4 * 11_364_096,
    }
