"""The commands that results hold are ones that `mnfpn` takes, and are about the run that they stand beside."""

import json
import shlex

from mnfpn_cli.settings.input import Size
from mnfpn_cli.settings.network import NetworkSettings
from mnfpn_cli.space.runs import Execution, Run
from mnfpn_cli.sweep.command_lines import measure_command, next_commands
from tests.conftest import Mnfpn

CELL = Run(
    NetworkSettings.model_validate({"width_mult": 0.35, "pyramid": {"channels": 64, "smooth": "none"}}),
    Size(64, 96),
    Execution(runtime="channels-last", batch=8),
)
NETWORK = "--width-mult 0.35 --pyramid-channels 64 --set pyramid.smooth=none --size 64x96"


def test_commands_are_typed_as_they_stand() -> None:
    """Only what differs from the defaults is in them."""
    found = next_commands(CELL)
    assert found.inspect == f"mnfpn summary {NETWORK}"
    assert found.export == f"mnfpn export --format onnx --output network.onnx {NETWORK}"
    assert found.measure == measure_command(CELL) == f"mnfpn bench {NETWORK} --batch 8 --runtime channels-last"


def test_the_command_that_inspects_is_about_the_network(mnfpn: Mnfpn) -> None:
    """As `mnfpn summary` reads it."""
    _, *arguments = shlex.split(next_commands(CELL).inspect)
    document = json.loads(mnfpn(*arguments, "--no-audit", "--json").out)
    assert document["settings"] == CELL.settings.model_dump(mode="json")
