"""Every format with every dtype and every choice of open axes: written and checked, or refused with what there is."""

from dataclasses import replace
from pathlib import Path

import pytest

from mnfpn_cli.documents.quality import QualityRecord
from mnfpn_cli.errors import UsageError
from mnfpn_cli.export.axes import SIDES, DynamicAxis
from mnfpn_cli.export.export import QUALITY_KEY, file_case
from mnfpn_cli.export.formats import FORMATS, PACKAGES, TO_QUANTIZE, ExportRequest, Format, check_request, load_format
from mnfpn_cli.export.networks import named_network
from mnfpn_cli.external.origin import FromSettings
from mnfpn_cli.network.network import build_network
from mnfpn_cli.plan.rules import network_input
from mnfpn_cli.settings.input import ITEM_BYTES, DType, Size
from mnfpn_cli.settings.network import NetworkSettings
from mnfpn_cli.settings.quantization import QuantizationCase
from tests.export.networks import SMALL, export_network
from tests.needs import needs

INPUT = network_input(SMALL, Size(32, 48))
AXES: tuple[frozenset[DynamicAxis], ...] = (frozenset(), frozenset({"batch"}), SIDES, SIDES | {"batch"})
QUICK = {("safetensors", "float16"), ("safetensors", "int8"), ("torch-export", "int8")}


def case(format: Format, dtype: DType) -> object:
    """A pairing: skipped where packages are not installed, and in the full tier alone where it takes long."""
    packages = (*PACKAGES.get(format, ()), *(TO_QUANTIZE.get(format, ()) if dtype == "int8" else ()))
    marks = [needs(*packages)] + [pytest.mark.slow] * ((format, dtype) not in QUICK)
    return pytest.param(format, dtype, marks=marks)


@pytest.mark.parametrize(("format", "dtype"), [case(format, dtype) for format in FORMATS for dtype in ITEM_BYTES])
def test_a_pairing_is_written_and_checked_or_refused(tmp_path: Path, format: Format, dtype: DType) -> None:
    """Not a word is printed; the figures of quality of all but float32 are in the file, read back."""
    form, network = load_format(format), build_network(SMALL, 7)
    for axes in AXES:
        path = tmp_path / f"net-{len(axes)}-{'batch' in axes}{form.SUFFIXES[0]}"
        request = ExportRequest(format, path, dtype, axes)
        if dtype not in form.DTYPES or not axes <= form.DYNAMIC:
            with pytest.raises(UsageError, match=r"^(dtype: must be .* with format|dynamic: (must be|cannot be used))"):
                check_request(request, None)
            continue
        check_request(request, None)
        written = export_network(network, SMALL, INPUT, format, path, axes, dtype)
        assert frozenset(written.dynamic_axes) == axes
        assert (written.dtype, written.dynamic) == (dtype, axes >= SIDES)
        assert all(Path(name).exists() for name in written.files)
        if written.unchecked is None:
            assert len(written.checks) == 1 + 2 * bool(axes & SIDES) + (axes == {"batch"})
            assert [one.name for one in written.checks[0].outputs] == ["p2", "p3"]
            assert (written.quality is None) == (dtype == "float32")
        job = file_case(
            named_network(network, FromSettings(SMALL), INPUT), request, QuantizationCase(), lambda *_: None
        ).job
        keys = dict.fromkeys((*job.metadata, QUALITY_KEY), "")
        metadata = form.read(path, replace(job, metadata=keys)).metadata
        assert NetworkSettings.model_validate_json(metadata["mnfpn_settings"]) == SMALL
        if written.quality is not None:
            assert QualityRecord.model_validate_json(metadata[QUALITY_KEY]) == written.quality
