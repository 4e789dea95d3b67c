"""The variables of the environment that name proxies."""

from __future__ import annotations

import os

import pytest


def set_proxy_variables(monkeypatch: pytest.MonkeyPatch, **variables: str) -> None:
    """Set variables, and take out of the environment all others that have a say on proxies."""
    for name in os.environ:
        if name.lower().endswith("_proxy") or name == "REQUEST_METHOD":
            monkeypatch.delenv(name)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
