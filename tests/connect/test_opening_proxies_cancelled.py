"""An opening that is cancelled at any step of its way through a proxy leaves no socket open.

``sweep`` checks after each run that nothing is left, also not to the garbage collector.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest
import trio
from scripted_proxy import HTTPProxy, SOCKSProxy, as_proxy
from scripted_server import Peer, Script, loopback_server, tls_for
from strict_server import Connected, StrictServer, Transport
from sweep import AtAnyStep, Trial, sweep

from trio_wsclient import Proxy


def forgiving(script: Script) -> Script:
    """Have a proxy not mind where the client ends TCP."""

    async def run(peer: Peer) -> None:
        with suppress(AssertionError, trio.BrokenResourceError):
            await script(peer)
        await peer.stream.aclose()

    return run


@pytest.fixture
def through(server_ssl_context, client_ssl_context):
    """Return a function that makes the way to a server through a proxy of some kind."""

    def make(kind: str, scheme: str) -> Transport:
        @asynccontextmanager
        async def transport(server: StrictServer) -> AsyncIterator[Connected]:
            proxy = SOCKSProxy(credentials=(b"name", b"word")) if "socks" in kind else HTTPProxy()
            server_tls = server_ssl_context if scheme == "wss" else None
            proxy_tls = server_ssl_context if kind == "https" else None
            async with (
                loopback_server(server, ssl_context=server_tls) as url,
                loopback_server(forgiving(proxy), ssl_context=proxy_tls) as proxy_url,
            ):
                own = as_proxy(proxy_url, kind, "name:word@")
                context = client_ssl_context if proxy_tls else None
                options = {"proxy": Proxy(own, ssl_context=context)}
                yield url, {**options, **tls_for(url, client_ssl_context)}

        return transport

    return make


async def opening(trial: Trial) -> None:
    with trio.CancelScope() as scope:
        trial.strike.arm(scope.cancel)
        try:
            async with trial.open():
                trial.strike.disarm()
        except BaseException as exc:
            assert type(exc) is trio.Cancelled
            raise
    assert trial.strike.struck or not scope.cancelled_caught
    await trial.ended([], whole=not trial.strike.struck)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "scheme"),
    [("http", "ws"), ("http", "wss"), ("https", "wss"), ("socks5", "wss"), ("socks5h", "ws")],
)
def test_cancelled_opening_leaves_nothing_open(through, kind: str, scheme: str, record_property):
    k = sweep(through(kind, scheme), opening, AtAnyStep)
    record_property("k", k)
    assert k > 5
