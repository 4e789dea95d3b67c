"""The exceptions: did it open, is it over, is it our bug.

A user sees each of them by its public name, ``trio_wsclient.ConnectionClosedOK``, also in a
traceback. Where a class has a private subclass, such as one for each method that raises it, the
subclass is shown by the name of its public base.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias, TypeVar

import trio

from trio_wsclient._protocol.closing import ABNORMAL, CloseFrame

if TYPE_CHECKING:
    from trio_wsclient._headers import Headers

_PUBLIC_MODULE: Final = "trio_wsclient"

Phase: TypeAlias = Literal["headers", "connect", "proxy_tls", "proxy", "tls", "handshake"]


_PHASES: Final[dict[Phase, str]] = {
    "headers": "extra_headers or on_rejected had not returned",
    "connect": "name look-up or TCP",
    "proxy_tls": "TLS with the proxy",
    "proxy": "the proxy had not connected",
    "tls": "TLS with the server",
    "handshake": "no complete response from the server",
}


class WebSocketError(Exception):
    """The base of all exceptions that this library raises by itself."""

    _fields: tuple[str, ...] = ()

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle by the arguments of the constructor, which ``args`` does not hold."""
        arguments = tuple(getattr(self, field) for field in self._fields) or self.args
        private = _NAMES.get(type(self))
        if private is not None:
            return _make, (private, *arguments), vars(self)
        return type(self), arguments, vars(self)


_PRIVATE: Final[dict[str, type[WebSocketError]]] = {}
_NAMES: Final[dict[type[WebSocketError], str]] = {}
_Error = TypeVar("_Error", bound=type[WebSocketError])


def _make(private: str, *arguments: object) -> WebSocketError:
    """Make an exception of a private subclass, when it comes out of a pickle."""
    return _PRIVATE[private](*arguments)


def shown_as(public: type[WebSocketError]) -> Callable[[_Error], _Error]:
    """Decorate a private subclass of a public exception, so that it has the public name."""

    def decorate(private: _Error) -> _Error:
        _PRIVATE[private.__name__] = private
        _NAMES[private] = private.__name__
        private.__module__ = _PUBLIC_MODULE
        private.__name__ = private.__qualname__ = public.__name__
        return private

    return decorate


def drop_tracebacks(error: BaseException | None) -> None:
    """Drop the tracebacks of an exception and of its causes.

    A traceback refers to frames. If a frame refers to what holds the exception, that is a cycle.
    The context of an exception may be one that the user was handling. It is left as it is, and
    only the reference to it is dropped.
    """
    seen = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        error.__traceback__ = None
        if error.__context__ is not error.__cause__:
            error.__context__ = None
        error = error.__cause__


class InvalidURL(WebSocketError, ValueError):
    """The URL is not one that a WebSocket can be opened on (RFC 6455 §3).

    Attributes:
        url: The URL as it was given.
        problem: What is wrong with it. The text of the error has this alone, as the URL may hold
            a password.
    """

    _fields = ("url", "problem")

    def __init__(self, url: str, problem: str) -> None:
        super().__init__(f"invalid WebSocket URL: {problem}")
        self.url = url
        self.problem = problem


class HandshakeError(WebSocketError):
    """No connection was made; ``__cause__`` is the error below, if there was one.

    Attributes:
        redirects: The URLs that had redirected us before, without userinfo.
        connection_id: The number that the log and the observer have for this opening.
    """

    redirects: tuple[str, ...] = ()
    connection_id: int | None = None


def keep_redirects(error: HandshakeError) -> None:
    """Have `add_redirects` leave an error as it is: it comes from a function of the user's."""
    error.redirects = error.redirects


def add_redirects(error: HandshakeError, urls: Sequence[str], notes: Sequence[str]) -> None:
    """Tell an error which redirects led to it, unless it knows already.

    A function of the user's may raise an error of another opening, with redirects of its own.

    Args:
        error: The error.
        urls: The URLs that had redirected, without userinfo.
        notes: What to say of the way to it.
    """
    if "redirects" in vars(error):
        return
    error.redirects = tuple(urls)
    for note in notes:
        error.add_note(note)


class OpenTimeout(HandshakeError, trio.TooSlowError):
    """The connection was not open within ``open_timeout``.

    Attributes:
        seconds: The timeout.
        phase: What ran out of time: ``"headers"`` (a function of yours that makes header fields),
            ``"connect"`` (name look-up and TCP, or ``open_stream``), ``"proxy_tls"`` (TLS with
            an ``https`` proxy), ``"proxy"`` (CONNECT or SOCKS), ``"tls"`` or ``"handshake"``.
    """

    _fields = ("seconds", "phase")

    def __init__(self, seconds: float, phase: Phase) -> None:
        super().__init__(f"not open after {seconds:g} s, in phase {phase} ({_PHASES[phase]})")
        self.seconds = seconds
        self.phase: Phase = phase


class ConnectionRejected(HandshakeError):
    """The server answered with a status other than 101 (RFC 6455 §4.1).

    Attributes:
        status_code: The HTTP status.
        headers: The header fields of the answer.
        reason_phrase: The text after the status, often ``""``; some servers say here what is
            wrong.
        body: What came of the body within a second, 64 KiB at most.
        problem: Why a redirect was not followed, or what to do; else ``""``.
        url: The URL that was asked for, without userinfo; after redirects the last one.

    The text of the error has these, and the beginning of the body. It never has a secret of the
    request that the server has sent back.
    """

    _fields = ("status_code", "headers", "body", "problem", "reason_phrase", "_text", "url")

    def __init__(  # noqa: PLR0917 pickled by position
        self,
        status_code: int,
        headers: Headers,
        body: bytes,
        problem: str = "",
        reason_phrase: str = "",
        text: str = "",
        url: str = "",
    ) -> None:
        self._text = text or f"HTTP status {status_code}"
        super().__init__(f"the server refused the WebSocket: {self._text}")
        self.status_code = status_code
        self.headers = headers
        self.body = body
        self.problem = problem
        self.reason_phrase = reason_phrase
        self.url = url


class InvalidResponse(HandshakeError):
    """The answer to the opening handshake was not one that RFC 6455 §4.1 allows."""


class ProxyError(HandshakeError):
    """The proxy did not open a tunnel.

    Attributes:
        status_code: The HTTP status that the proxy answered with; ``None`` if it was none.
        reason_phrase: The text after that status, often ``""``.
        headers: The header fields of such an answer, else ``None``.
        body: What came of its body within a second, 64 KiB at most.
    """

    _fields = ("_problem", "status_code", "headers", "body", "reason_phrase")

    def __init__(
        self,
        problem: str,
        status_code: int | None = None,
        headers: Headers | None = None,
        body: bytes = b"",
        reason_phrase: str = "",
    ) -> None:
        super().__init__(problem)
        self._problem = problem
        self.status_code = status_code
        self.headers = headers
        self.body = body
        self.reason_phrase = reason_phrase


class ConnectionClosed(WebSocketError):
    """The connection is over.

    Attributes:
        received: The server's Close frame; ``None`` if none came. A Close without a code has 1005.
        sent: The Close frame that this side decided to send; ``None`` if there was none to send.
        code: The code received, 1006 without a Close frame (RFC 6455 §7.1.5).
        reason: The reason received, ``""`` without one.
        problem: The text of the error, one sentence.
        closed_by: The side that decided first to close, ``"client"`` or ``"server"``; ``None`` if
            TCP ended, or the client failed the connection.
        connection_id: Whose end it is: that of the client, and of the records in its log.
    """

    _fields = ("received", "sent", "problem")
    closed_by: Literal["client", "server"] | None = None
    connection_id: int | None = None

    def __init__(self, received: CloseFrame | None, sent: CloseFrame | None, problem: str) -> None:
        super().__init__(problem)
        self.received = received
        self.sent = sent
        self.problem = problem

    @property
    def code(self) -> int:
        return ABNORMAL if self.received is None else self.received.code

    @property
    def reason(self) -> str:
        return "" if self.received is None else self.received.reason


class ConnectionClosedOK(ConnectionClosed):
    """The server closed with 1000, 1001 or no code; or this side had asked for the end."""


@shown_as(ConnectionClosedOK)
class ClosedOnReceive(ConnectionClosedOK, trio.EndOfChannel):
    """What ``receive`` raises, so that ``async for`` ends."""


@shown_as(ConnectionClosedOK)
class ClosedOnSend(ConnectionClosedOK, trio.BrokenResourceError):
    """What ``send`` raises: an ``EndOfChannel`` would silently end a loop around the caller."""


class ConnectionClosedError(ConnectionClosed, trio.BrokenResourceError):
    """The connection ended in any other way; ``__cause__`` says why, if it was no Close frame."""


class UnexpectedMessage(WebSocketError):
    """A message is not of the type that was asked for, or could not be decoded.

    The message has been taken, and the connection is open.

    Attributes:
        problem: What is wrong with it. The text of the error has this alone: a message may be long.
        message: The message, a ``str`` or ``bytes``.
    """

    _fields = ("problem", "message")

    def __init__(self, problem: str, message: str | bytes) -> None:
        super().__init__(problem)
        self.problem = problem
        self.message = message


class WebSocketInternalError(WebSocketError):
    """A bug of this library, please report it; ``__cause__`` is the bug, or a group with it."""


for _public in (
    WebSocketError,
    InvalidURL,
    HandshakeError,
    OpenTimeout,
    ConnectionRejected,
    InvalidResponse,
    ProxyError,
    ConnectionClosed,
    ConnectionClosedOK,
    ConnectionClosedError,
    UnexpectedMessage,
    WebSocketInternalError,
):
    _public.__module__ = _PUBLIC_MODULE
