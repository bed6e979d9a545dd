"""`mnfpn runtimes`: what this machine has, whatever that is."""

import json
import subprocess
import sys

import pytest

from mnfpn_cli import api
from mnfpn_cli.documents.runtimes import RuntimesDocument
from mnfpn_cli.errors import UsageError
from mnfpn_cli.report.terminal.plain import as_text
from mnfpn_cli.report.terminal.runtimes import runtimes_tables
from mnfpn_cli.settings.measuring import LITERT, runtime_names
from tests.conftest import Mnfpn


def test_the_command_prints_what_the_function_returns(mnfpn: Mnfpn) -> None:
    """As tables and as JSON; every runtime is there."""
    document = api.runtimes("cpu")
    printed = mnfpn("runtimes", "--device", "cpu", "--json")
    assert (printed.code, printed.err) == (0, "")
    assert RuntimesDocument.model_validate_json(printed.out) == document
    assert mnfpn("runtimes", "--device", "cpu").out == as_text(runtimes_tables(document)) == str(document) + "\n"
    assert [one["name"] for one in json.loads(printed.out)["runtimes"]] == [*runtime_names(), LITERT]


def test_all_devices_are_shown_unless_some_are_named(mnfpn: Mnfpn) -> None:
    """The CPU is one of them, and a device that is named twice is shown once."""
    assert "cpu" in api.runtimes().devices
    named = mnfpn("runtimes", "--device", "cpu", "--device", "cpu", "--json")
    assert json.loads(named.out)["devices"] == ["cpu"]


def test_a_bad_device_is_an_error(mnfpn: Mnfpn) -> None:
    """A name that is not well formed is wrong usage; a device that this machine lacks is a failure."""
    outcome = mnfpn("runtimes", "--device", "gpu")
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err.startswith("error: --device: must be auto, cpu, cuda, cuda:N or mps, got 'gpu'; did you mean")
    absent = mnfpn("runtimes", "--device", "cuda:99")
    assert (absent.code, absent.out) == (1, "")
    assert absent.err.startswith("error: --device: must be a device of this machine, got 'cuda:99'; found: ")
    with pytest.raises(UsageError, match="device: must be a name, or a list of names"):
        api.runtimes([])


def test_a_cap_of_the_environment_shows(mnfpn: Mnfpn, monkeypatch: pytest.MonkeyPatch) -> None:
    """On whatever processor: under the lowest cap oneDNN has no x86 instructions for bfloat16 and int8."""
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "SSE41")
    processor = json.loads(mnfpn("runtimes", "--device", "cpu", "--json").out)["processor"]
    x86 = any(name.startswith("avx") for name in processor["instructions"] or ())
    assert processor["cap"] == ("ONEDNN_MAX_CPU_ISA=SSE41" if x86 else None)
    emulated = [one["dtype"] for one in processor["dtypes"] if one["support"] == "emulated"]
    assert emulated == ["bfloat16", "float16", "int8"] or not x86


@pytest.mark.slow
def test_little_is_imported() -> None:
    """A package is looked for, not imported; openvino alone is asked what the CPU can do."""
    heavy = {"onnx", "onnxruntime", "onnxscript", "nncf", "executorch", "torchao", "ai_edge_litert", "coremltools"}
    program = (
        "import sys; from mnfpn_cli.cli.main import run; code = run(['runtimes', '--device', 'cpu', '--json'])\n"
        f"print(code, sorted({heavy!r} & set(sys.modules)), 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout.splitlines()[-1] == "0 [] True"
    assert done.stderr == ""
