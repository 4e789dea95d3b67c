"""Fixtures that several test modules share."""

from __future__ import annotations

import gc
import logging
import os
import signal
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme
from command_line import standard_input

from trio_wsclient._connection import shared_reader
from trio_wsclient._observe import FRAMES


def pytest_collection_finish() -> None:
    """Take what the tests have imported out of the collector's sight.

    Many tests look for garbage. Each time that would take a tenth of a second otherwise.
    """
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True, scope="session")
def _take_ctrl_c() -> Iterator[None]:
    """Take SIGINT back where it is ignored, as in the background of a script."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(scope="session")
def ca() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="session")
def server_ssl_context(ca: trustme.CA) -> ssl.SSLContext:
    """TLS of a server at 127.0.0.1 and localhost."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    ca.issue_cert("127.0.0.1", "localhost").configure_cert(context)
    return context


@pytest.fixture(scope="session")
def client_ssl_context(ca: trustme.CA) -> ssl.SSLContext:
    """TLS of a client that trusts the CA of the tests."""
    context = ssl.create_default_context()
    ca.configure_trust(context)
    return context


@pytest.fixture
def stdin():
    """The end to write into of a pipe that is the standard input of this process."""
    read_end, write_end = os.pipe()
    with standard_input(read_end), os.fdopen(write_end, "wb", buffering=0) as writer:
        yield writer


@pytest.fixture
def keyboard():
    """The keyboard of a terminal that is the standard input of this process."""
    pty = pytest.importorskip("pty")
    terminal, read_end = pty.openpty()
    with standard_input(read_end), os.fdopen(terminal, "wb", buffering=0) as keyboard:
        yield keyboard


@pytest.fixture
def logger_of_frames() -> Iterator[logging.Logger]:
    """A logger that writes a line for each frame, to a file that forgets it."""
    logger = logging.getLogger("test.frames")
    logger.setLevel(FRAMES)
    logger.propagate = False
    with Path(os.devnull).open("w", encoding="utf-8") as file:
        handler = logging.StreamHandler(file)
        logger.addHandler(handler)
        yield logger
        logger.removeHandler(handler)


@pytest.fixture
def _collector_off() -> Iterator[None]:
    """A collection looks at all objects of the process: its cost depends on the other tests."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.fixture
def _long_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    """The rest of a background reader does not end by itself, not even on a very slow machine."""
    monkeypatch.setattr(shared_reader, "_REST", 600)
