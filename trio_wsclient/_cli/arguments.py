"""The arguments of the command line, and the options of a connection that they mean."""

from __future__ import annotations

import argparse
import base64
import math
import ssl
from collections.abc import Sequence
from typing import Final

from trio_wsclient import IMPLEMENTATION, ClientOptions, __version__

_WAIT: Final = 1.0  # seconds: three round trips around the world
_BENCH_SECONDS: Final = 10.0
_BENCH_SIZE: Final = 100  # bytes
_MIN_SIZE: Final = 20  # bytes, so that each message can have a number of its own
_MAX_SIZE: Final = 1_000_000_000  # bytes, which are in memory several times


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Parse the arguments; wrong ones end the process with status 2."""
    parser = argparse.ArgumentParser(
        prog="trio-wsclient",
        description="A WebSocket client (RFC 6455) on the command line.",
        epilog="Exit status: 0 when the connection ended normally, 1 when it did not open, "
        "2 for wrong usage, 3 when it ended otherwise, 130 after Ctrl-C, 141 when nobody reads the "
        "output any more.",
    )
    version = f"%(prog)s {__version__} (frames by {IMPLEMENTATION})"
    parser.add_argument("--version", action="version", version=version)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_connect(commands)
    _add_bench(commands)
    text = "hold a conversation with a server of its own, and show each step with its time"
    commands.add_parser("demo", help=text, description=text.capitalize() + ".")
    parsed = parser.parse_args(arguments)
    if getattr(parsed, "key", None) and not parsed.cert:
        parser.error("--key is of no use without --cert")
    has_header = any(name.lower() == "authorization" for name, _ in getattr(parsed, "header", ()))
    if has_header and parsed.auth:
        parser.error("--auth and a header Authorization exclude each other")
    if getattr(parsed, "insecure", False) and parsed.ca:
        parser.error("--insecure and --ca exclude each other")
    return parsed


def _add_connect(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    connect = commands.add_parser(
        "connect",
        help="send lines from standard input, and print what arrives",
        description="Send each line of standard input as a Text message (read as UTF-8; what is "
        "not is replaced by U+FFFD). Print each message that arrives on a line of its own: Text "
        "with control characters escaped, Binary as a Python literal. It ends when the server "
        "closes; or, after the end of standard input, when the server has answered a ping, so "
        "that it has all the lines, and some time more has passed (--wait). Ctrl-C closes with "
        "1001. At a terminal a line may be a command: /ping, or /close [CODE [REASON]]; // at its "
        "beginning stands for /.",
    )
    _add_connection(connect)
    talk = connect.add_argument_group("conversation")
    talk.add_argument(
        "-x",
        "--execute",
        type=_text,
        action="append",
        default=[],
        metavar="MESSAGE",
        help="send this instead of standard input; may be given several times",
    )
    talk.add_argument(
        "-w",
        "--wait",
        type=_seconds,
        default=_WAIT,
        metavar="SECONDS",
        help="how long to go on printing after standard input has ended (default: %(default)g; "
        "inf: until the server closes)",
    )
    talk.add_argument(
        "-1", "--once", action="store_true", help="end after one message out and one in"
    )
    talk.add_argument(
        "-b",
        "--binary",
        action="store_true",
        help="send what can be read at a time as a Binary message, and write what arrives as it is",
    )
    talk.add_argument(
        "--slash", action="store_true", help="heed commands although there is no terminal"
    )


def _add_bench(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    bench = commands.add_parser(
        "bench",
        help="measure round-trip times to an echo server",
        description="Send one message after the other, each when the one before has come back, "
        "and show how long they took: as they come, and a histogram at the end.",
    )
    _add_connection(bench)
    measuring = bench.add_argument_group("measuring")
    measuring.add_argument(
        "-t",
        "--seconds",
        type=_seconds,
        default=_BENCH_SECONDS,
        metavar="SECONDS",
        help="for how long (default: %(default)g; inf: until Ctrl-C)",
    )
    measuring.add_argument(
        "-s",
        "--size",
        type=_size,
        default=_BENCH_SIZE,
        metavar="BYTES",
        help=f"of a message, {_MIN_SIZE} to {_MAX_SIZE} (default: %(default)d)",
    )


def _add_connection(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("url", metavar="URL", help="a ws or wss URL")
    opening = parser.add_argument_group("connection")
    opening.add_argument(
        "-H",
        "--header",
        type=_header,
        action="append",
        default=[],
        metavar="'NAME: VALUE'",
        help="a header field for the request; may be given several times",
    )
    opening.add_argument(
        "--subprotocol", action="append", default=[], metavar="NAME", help="to offer; likewise"
    )
    opening.add_argument(
        "--auth", type=_credentials, metavar="USER:PASSWORD", help="Basic authorization (RFC 7617)"
    )
    opening.add_argument("--origin", metavar="ORIGIN", help="the value of the header Origin")
    opening.add_argument("--ca", metavar="FILE", help="the certificates to trust, as PEM")
    opening.add_argument("--cert", metavar="FILE", help="a client certificate, as PEM")
    opening.add_argument("--key", metavar="FILE", help="its key, if that is in another file")
    opening.add_argument(
        "--insecure", action="store_true", help="do not check the server's certificate"
    )
    opening.add_argument(
        "--proxy", metavar="URL", help="a proxy to go through; 'environment' for its variables"
    )
    opening.add_argument("--unix", metavar="PATH", help="connect to a Unix domain socket")
    opening.add_argument("--compress", action="store_true", help="offer permessage-deflate")
    opening.add_argument(
        "--ping",
        type=_interval,
        metavar="SECONDS",
        help="how long after an answer to ping again; end when nothing comes after a ping for 20 s",
    )


def options_of(parsed: argparse.Namespace) -> ClientOptions:
    """Return what the arguments mean.

    Raises:
        OSError: A file of certificates can't be read, or is none.
    """
    headers: list[tuple[str, str]] = parsed.header
    if parsed.auth is not None:
        token = base64.b64encode(parsed.auth.encode()).decode()
        headers = [*headers, ("Authorization", f"Basic {token}")]
    return {
        "extra_headers": headers,
        "subprotocols": parsed.subprotocol,
        "origin": parsed.origin,
        "ssl_context": _ssl_context(parsed),
        "proxy": parsed.proxy,
        "unix_socket": parsed.unix,
        "compression": "deflate" if parsed.compress else None,
        "ping_interval": parsed.ping,
    }


def _ssl_context(parsed: argparse.Namespace) -> ssl.SSLContext | None:
    if not (parsed.ca or parsed.cert or parsed.insecure):
        return None
    context = ssl.create_default_context(cafile=parsed.ca)
    if parsed.insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if parsed.cert:
        context.load_cert_chain(parsed.cert, parsed.key)
    return context


def _seconds(text: str) -> float:
    seconds = float(text)
    if not seconds >= 0:  # so that nan is refused too
        raise argparse.ArgumentTypeError(f"not a number of seconds: {text!r}")
    return seconds


def _interval(text: str) -> float:
    seconds = float(text)
    if not 0 < seconds < math.inf:
        raise argparse.ArgumentTypeError(f"not a positive number of seconds: {text!r}")
    return seconds


def _size(text: str) -> int:
    size = int(text)
    if not _MIN_SIZE <= size <= _MAX_SIZE:
        raise argparse.ArgumentTypeError(f"not {_MIN_SIZE} to {_MAX_SIZE} bytes: {text!r}")
    return size


def _text(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError as exc:
        raise argparse.ArgumentTypeError("not UTF-8") from exc
    return text


def _credentials(text: str) -> str:
    if ":" not in text:
        raise argparse.ArgumentTypeError("not of the form 'USER:PASSWORD'")
    return _text(text)


def _header(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not colon:
        raise argparse.ArgumentTypeError(f"not of the form 'NAME: VALUE': {text!r}")
    return name.strip(), value.strip()
