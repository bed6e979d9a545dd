"""What tests need that not every machine has: they are skipped, with the name of what is missing."""

import os
import shutil
from importlib.util import find_spec

import pytest


def needs(*packages: str) -> pytest.MarkDecorator:
    """Skip a test where one of these packages is not installed."""
    absent = [name for name in packages if find_spec(name) is None]
    return pytest.mark.skipif(bool(absent), reason=f"not installed: {', '.join(absent)}")


ONNX = ("onnx", "onnxscript", "onnxruntime")
needs_onnx = needs(*ONNX)
"""As `pip install 'mnfpn[onnx]'` brings it."""

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def browser_path() -> str:
    """The system's Chromium; the test is skipped where there is none, and fails where MNFPN_TEST_BROWSER is set."""
    found = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    if not found:
        why = f"there is no browser: none of {', '.join(BROWSERS)}"
        if os.environ.get("MNFPN_TEST_BROWSER"):
            pytest.fail(why)
        pytest.skip(why)
    return found
