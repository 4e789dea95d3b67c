"""Arguments of the command line, and what they do to the connection."""

from __future__ import annotations

import ssl
from contextlib import suppress
from pathlib import Path

import pytest
import trio
import trustme
import wire
from command_line import run_main
from scripted_server import Peer, echo_script, loopback_server

from trio_wsclient._cli.arguments import options_of, parse


def options(*arguments: str) -> dict[str, object]:
    return {**options_of(parse(["connect", *arguments, "ws://x/"]))}


def test_without_arguments_the_options_are_the_defaults():
    assert options() == {
        "extra_headers": [],
        "subprotocols": [],
        "origin": None,
        "ssl_context": None,
        "proxy": None,
        "unix_socket": None,
        "compression": None,
        "ping_interval": None,
    }


def test_each_argument_is_an_option():
    found = options(
        *("-H", "X-A: 1", "--header", "X-B:2: 3", "--auth", "ann:s:x", "--origin", "http://o"),
        *("--subprotocol", "a", "--subprotocol", "b", "--proxy", "http://p", "--compress"),
        *("--ping", "20", "--unix", "/run/x"),
    )
    assert found == {
        "extra_headers": [
            ("X-A", "1"),
            ("X-B", "2: 3"),
            ("Authorization", "Basic YW5uOnM6eA=="),
        ],
        "subprotocols": ["a", "b"],
        "origin": "http://o",
        "ssl_context": None,
        "proxy": "http://p",
        "unix_socket": "/run/x",
        "compression": "deflate",
        "ping_interval": 20,
    }


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["-H", "no colon"], "not of the form 'NAME: VALUE'"),
        (["--ping", "0"], "not a positive number of seconds"),
        (["--ping", "inf"], "not a positive number of seconds"),
        (["--key", "k.pem"], "--key is of no use without --cert"),
        (["--insecure", "--ca", "ca.pem"], "--insecure and --ca exclude each other"),
        (["-x", "\udcff"], "not UTF-8"),
        (["--auth", "\udcff:x"], "not UTF-8"),
        (["--auth", "user"], "not of the form 'USER:PASSWORD'"),
        (
            ["--auth", "a:b", "-H", "authorization: x"],
            "--auth and a header Authorization",
        ),
    ],
)
def test_wrong_arguments_end_with_status_2(arguments: list[str], problem: str, capsys):
    with pytest.raises(SystemExit) as caught:
        options(*arguments)
    assert caught.value.code == 2
    assert problem in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["-H", "Host: x"], "Host"),
        (["--subprotocol", "a b"], "subprotocols: item 0 can't be offered: it has ' ' at index 1"),
        (["--proxy", "ftp://x"], "proxy"),
        (["--proxy", "http://x", "--unix", "/run/x"], "different ways to connect"),
    ],
)
async def test_options_that_are_wrong_end_with_status_2(arguments: list[str], problem: str, capsys):
    assert await run_main("connect", *arguments, "ws://127.0.0.1:1/") == 2
    assert problem in capsys.readouterr().err


async def test_server_is_told_of_them(stdin, capsys):
    requests = []

    async def script(peer: Peer) -> None:
        await peer.accept("Sec-WebSocket-Protocol: b")
        requests.append(peer.request.decode())
        await peer.echo()

    stdin.close()
    async with loopback_server(script) as url:
        arguments = ["-H", "X-A: 1", "--auth", "ann:secret", "--subprotocol", "b", "--compress"]
        assert await run_main("connect", *arguments, "--origin", "http://o", "-w", "0", url) == 0
    (request,) = requests
    assert "X-A: 1\r\n" in request
    assert "Authorization: Basic YW5uOnNlY3JldA==\r\n" in request
    assert "Sec-WebSocket-Protocol: b\r\n" in request
    assert "Sec-WebSocket-Extensions: permessage-deflate" in request
    assert "Origin: http://o\r\n" in request


async def test_keepalive_ends_a_connection_that_is_dead(stdin, capsys, monkeypatch):
    async def script(peer: Peer) -> None:
        await peer.accept()
        assert (await peer.next_frame()).opcode == wire.PING
        await peer.send(wire.close(1013))
        await peer.expect_close()
        await peer.stream.aclose()

    async with loopback_server(script) as url:
        assert await run_main("connect", "--ping", "0.05", url) == 3


@pytest.mark.skipif(not hasattr(trio, "open_unix_socket"), reason="no Unix sockets here")
async def test_unix_socket_that_is_not_there_is_one_line(stdin, capsys):
    assert await run_main("connect", "--unix", "none", "ws://x/") == 1
    assert capsys.readouterr().err.count("\n") == 1


# TLS


@pytest.fixture
def files(ca: trustme.CA, tmp_path: Path) -> dict[str, str]:
    """Certificates as files."""
    client = ca.issue_cert("client@example.org")
    paths = {name: tmp_path / f"{name}.pem" for name in ("ca", "cert", "key", "other")}
    ca.cert_pem.write_to_path(paths["ca"])
    client.cert_chain_pems[0].write_to_path(paths["cert"])
    client.private_key_pem.write_to_path(paths["key"])
    trustme.CA().cert_pem.write_to_path(paths["other"])
    return {name: str(path) for name, path in paths.items()}


@pytest.mark.parametrize(
    ("trust", "status"),
    [(["--ca", "ca"], 0), (["--ca", "other"], 1), ([], 1), (["--insecure"], 0)],
    ids=["its CA", "another CA", "the system's", "insecure"],
)
async def test_whom_to_trust_is_said(trust, status, files, server_ssl_context, capsys):
    arguments = [files.get(each, each) for each in trust]

    async def script(peer: Peer) -> None:
        with suppress(trio.BrokenResourceError):  # A client that does not trust it leaves.
            await echo_script(peer)

    async with loopback_server(script, ssl_context=server_ssl_context) as url:
        assert await run_main("connect", *arguments, "-1", "-x", "hi", url) == status
    out, err = capsys.readouterr()
    assert out == ("hi\n" if status == 0 else "")
    assert ("certificate is not checked" in err) == ("--insecure" in trust)


async def test_client_certificate_is_shown(files, ca, server_ssl_context, capsys):
    server_ssl_context.verify_mode = ssl.CERT_REQUIRED
    ca.configure_trust(server_ssl_context)
    try:
        async with loopback_server(echo_script, ssl_context=server_ssl_context) as url:
            client = ["--cert", files["cert"], "--key", files["key"]]
            assert (
                await run_main("connect", "--ca", files["ca"], *client, "-1", "-x", "a", url) == 0
            )
    finally:
        server_ssl_context.verify_mode = ssl.CERT_NONE


async def test_file_that_is_not_there_is_one_line(capsys):
    assert await run_main("connect", "--ca", "nowhere.pem", "wss://127.0.0.1:1/") == 1
    assert capsys.readouterr().err == "trio-wsclient: [Errno 2] No such file or directory\n"
