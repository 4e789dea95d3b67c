"""wss that works: who the server has to be, what it is told of that, and what TLS runs over."""

from __future__ import annotations

import ssl
from functools import partial

import idna
import pytest
import trio
import truststore
import wire
from scripted_server import Peer, echo_script, loopback_server, tls_of
from trio.testing import memory_stream_pair

from trio_wsclient import WebSocketClient, open_websocket_client


def names_sent(context: ssl.SSLContext) -> list[str | None]:
    """Return the list into which a context's server writes the names that SNI sent."""
    names: list[str | None] = []
    context.sni_callback = lambda _tls, name, _context: names.append(name)
    return names


async def serve_tls(context: ssl.SSLContext, stream: trio.abc.Stream) -> None:
    await echo_script(Peer(trio.SSLStream(stream, context, server_side=True)))


async def check_echo(ws: WebSocketClient) -> None:
    await ws.send("hello")
    assert await ws.receive() == "hello"


async def test_server_whose_ca_is_trusted_is_talked_to(server_ssl_context, client_ssl_context):
    async with (
        loopback_server(echo_script, ssl_context=server_ssl_context) as url,
        open_websocket_client(url, ssl_context=client_ssl_context) as ws,
    ):
        await check_echo(ws)


async def test_context_of_truststores_may_be_given_too(ca, server_ssl_context):
    context = truststore.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    ca.configure_trust(context)
    async with (
        loopback_server(echo_script, ssl_context=server_ssl_context) as url,
        open_websocket_client(url, ssl_context=context) as ws,
    ):
        await check_echo(ws)


async def test_server_hostname_is_sent_as_sni_and_checked(ca, client_ssl_context):
    context = tls_of(ca, "chat.example")
    names = names_sent(context)
    async with (
        loopback_server(echo_script, ssl_context=context) as url,
        open_websocket_client(
            url, server_hostname="chat.example", ssl_context=client_ssl_context
        ) as ws,
    ):
        await check_echo(ws)
    assert names == ["chat.example"]


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
async def test_ip_address_is_verified_but_not_sent_as_sni(ca, client_ssl_context, host):
    """RFC 6066 §3: an address is no SNI."""
    context = tls_of(ca, host)
    names = names_sent(context)
    try:
        listeners = await trio.open_tcp_listeners(0, host=host)
    except OSError:
        if host != "::1":
            raise
        pytest.skip("this machine has no IPv6")
    port = listeners[0].socket.getsockname()[1]

    url = f"wss://[{host}]:{port}/" if ":" in host else f"wss://{host}:{port}/"
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, partial(serve_tls, context), listeners)
        async with open_websocket_client(url, ssl_context=client_ssl_context) as ws:
            await check_echo(ws)
        nursery.cancel_scope.cancel()
    assert names == [None]


async def test_host_may_have_an_underscore(ca, client_ssl_context, monkeypatch, nursery):
    with monkeypatch.context() as patch:
        patch.setattr(idna, "encode", lambda name, **_: name.encode())  # DNS has it, IDNA has not.
        context = tls_of(ca, "chat_1.example")
    names = names_sent(context)
    client, server = memory_stream_pair()
    nursery.start_soon(serve_tls, context, server)
    async with open_websocket_client(
        "wss://chat_1.example/", stream=client, ssl_context=client_ssl_context
    ) as ws:
        await check_echo(ws)
    assert names == ["chat_1.example"]


async def test_name_in_another_script_becomes_its_a_label(ca, client_ssl_context, nursery):
    context = tls_of(ca, "bücher.example")
    names = names_sent(context)
    client, server = memory_stream_pair()
    nursery.start_soon(serve_tls, context, server)
    async with open_websocket_client(
        "wss://bücher.example/", stream=client, ssl_context=client_ssl_context
    ) as ws:
        await check_echo(ws)
    assert names == ["xn--bcher-kva.example"]


# What TLS runs over


async def test_tls_runs_over_the_users_stream_too(server_ssl_context, client_ssl_context, nursery):
    client, server = memory_stream_pair()
    nursery.start_soon(serve_tls, server_ssl_context, server)
    async with open_websocket_client(
        "wss://localhost/", stream=client, ssl_context=client_ssl_context
    ) as ws:
        await check_echo(ws)


async def test_frames_in_the_tls_record_of_the_response_come_first(
    server_ssl_context, client_ssl_context
):
    async def server(peer: Peer) -> None:
        await peer.accept(behind=wire.text("one") + wire.text("two") + wire.close(1000))
        await peer.close_politely()

    async with (
        loopback_server(server, ssl_context=server_ssl_context) as url,
        open_websocket_client(url, ssl_context=client_ssl_context) as ws,
    ):
        assert [message async for message in ws] == ["one", "two"]
