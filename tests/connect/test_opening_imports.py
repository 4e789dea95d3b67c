"""Opening imports h11 and urllib only if it needs them, and then in a thread."""

from __future__ import annotations

import sys
import threading
import urllib.request
from types import ModuleType

import h11
import pytest
import wire
from proxy_variables import set_proxy_variables
from scripted_proxy import HTTPProxy, as_proxy
from scripted_server import Peer, echo_script, loopback_server
from trio.testing import wait_all_tasks_blocked

from trio_wsclient import (
    ConnectionRejected,
    InvalidResponse,
    PerMessageDeflate,
    _scheduling,
    open_websocket_client,
)

HERE = threading.get_ident()


class Imports:
    """Forget modules, and note who imports them again."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *modules: ModuleType) -> None:
        self._monkeypatch = monkeypatch
        self._modules = {module.__name__: module for module in modules}
        self.threads: list[int] = []
        for name in self._modules:
            monkeypatch.delitem(sys.modules, name)
        monkeypatch.setattr(_scheduling, "import_module", self._import)

    def _import(self, name: str) -> None:
        self.threads.append(threading.get_ident())
        self._monkeypatch.setitem(sys.modules, name, self._modules[name])


def responding(response: bytes):
    async def script(peer: Peer) -> None:
        await peer.read_request()
        await peer.send(response)
        await peer.wait_eof()

    return script


async def test_urllib_is_imported_in_a_thread(monkeypatch):
    """To import it here would hold the other tasks for 20 ms."""
    set_proxy_variables(monkeypatch)
    imports = Imports(monkeypatch, urllib.request)
    async with loopback_server(echo_script) as url:
        for _ in range(2):
            async with open_websocket_client(url, proxy="environment"):
                pass
    assert len(imports.threads) == 1
    assert imports.threads != [HERE]


async def test_h11_is_not_imported_for_the_usual_response(monkeypatch):
    imports = Imports(monkeypatch, h11)
    async with (
        loopback_server(echo_script) as url,
        open_websocket_client(url, compression=PerMessageDeflate()) as ws,
    ):
        await ws.send("a")
        assert await ws.receive() == "a"
    assert imports.threads == []
    assert "h11" not in sys.modules


async def test_h11_is_imported_in_a_thread_for_a_rejection(monkeypatch):
    imports = Imports(monkeypatch, h11)
    script = responding(b"HTTP/1.1 403 No\r\nContent-Length: 1\r\n\r\na")
    async with loopback_server(script) as url:
        for _ in range(2):
            with pytest.raises(ConnectionRejected) as caught:
                async with open_websocket_client(url):
                    pytest.fail("it is not open")
            assert caught.value.body == b"a"
    assert len(imports.threads) == 1
    assert imports.threads != [HERE]


async def test_h11_is_imported_in_a_thread_for_a_response_in_two_pieces(monkeypatch):
    async def script(peer: Peer) -> None:
        response = wire.answer(await peer.read_request())
        await peer.send(response[:20])
        while not imports.threads:
            await wait_all_tasks_blocked(0.001)
        await peer.send(response[20:])
        await peer.echo()

    imports = Imports(monkeypatch, h11)
    async with loopback_server(script) as url, open_websocket_client(url):
        pass
    assert len(imports.threads) == 1
    assert imports.threads != [HERE]


async def test_h11_is_imported_in_a_thread_for_an_http_proxy(monkeypatch):
    imports = Imports(monkeypatch, h11)
    async with (
        loopback_server(echo_script) as url,
        loopback_server(HTTPProxy()) as proxy_url,
        open_websocket_client(url, proxy=as_proxy(proxy_url)),
    ):
        assert len(imports.threads) == 1
        assert imports.threads != [HERE]


async def test_usual_response_with_a_wrong_header_is_refused_without_h11(monkeypatch):
    imports = Imports(monkeypatch, h11)
    script = responding(b"HTTP/1.1 101 \r\nUpgrade: websocket\r\n\r\n")
    async with loopback_server(script) as url:
        with pytest.raises(InvalidResponse, match="header Connection"):
            async with open_websocket_client(url):
                pytest.fail("it is not open")
    assert imports.threads == []
