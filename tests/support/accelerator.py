"""Both implementations of frames, if the accelerator is built."""

from __future__ import annotations

import importlib
import os

import pytest

from trio_wsclient._protocol import frames_py

try:
    accelerator = importlib.import_module("trio_wsclient._protocol.frames_c")
except ImportError:
    if "CI" in os.environ and "TRIO_WSCLIENT_PURE" not in os.environ:
        raise  # There it has to be built.
    accelerator = None

IMPLEMENTATIONS = [pytest.param(frames_py, id="python")]
if accelerator is not None:
    IMPLEMENTATIONS.append(pytest.param(accelerator, id="c"))
