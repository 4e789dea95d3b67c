"""Every case runs on each server that can do it, plain and over TLS."""

import os
import ssl
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
import trustme

from trio_wsclient import WebSocketClient, open_websocket_client

from .capabilities import LEFT_OUT, SERVERS
from .running import Server, started
from .servers import MAX_MESSAGE_SIZE

CASE_TIMEOUT = 30  # seconds: the longest case, 8 MB both ways, takes under one on an idle machine
CLOSE_TIMEOUT = 2 * CASE_TIMEOUT  # so that a close which the server leaves unfinished is a failure

Connect = Callable[..., AbstractAsyncContextManager[WebSocketClient]]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "server" in metafunc.fixturenames:
        left_out = LEFT_OUT.get(metafunc.function.__name__, {})
        able = [name for name in SERVERS if name not in left_out]
        # The scope groups the cases by server: each is started once.
        metafunc.parametrize("server", able, indirect=True, scope="session")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Where CI is set, what is not there is a failure: it has to be installed."""
    report = yield
    if report.skipped and os.environ.get("CI"):
        report.outcome = "failed"
    return report


@pytest.fixture(scope="session")
def ca() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="session")
def certificate(ca: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("certificate") / "server.pem"
    ca.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(str(path))
    return path


@pytest.fixture(scope="session")
def ssl_context(ca: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context()
    ca.configure_trust(context)
    return context


@pytest.fixture(scope="session")
def server(request: pytest.FixtureRequest, certificate: Path) -> Iterator[Server]:
    with started(request.param, certificate) as server:
        yield server


@pytest.fixture(params=["ws", "wss"])
def scheme(request: pytest.FixtureRequest) -> str:
    scheme: str = request.param
    return scheme


@pytest.fixture
def connect(server: Server, scheme: str, ssl_context: ssl.SSLContext) -> Connect:
    """Open the client under test on a path of the server, in a block with a timeout."""

    @asynccontextmanager
    async def connect(path: str, **options: Any) -> AsyncIterator[WebSocketClient]:
        if scheme == "wss":
            options["ssl_context"] = ssl_context
        with trio.fail_after(CASE_TIMEOUT):
            async with open_websocket_client(
                server.url(scheme, path),
                max_message_size=MAX_MESSAGE_SIZE,
                close_timeout=CLOSE_TIMEOUT,
                **options,
            ) as ws:
                yield ws

    return connect
