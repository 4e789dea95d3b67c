"""Opening a connection, attempt by attempt, until the user has it.

Opening is a row of awaits under one deadline, without a nursery, so that its errors are never in a
group. An attempt is one connection to one URL: a stream to its host (see `route`), TLS, and the
handshake. Another attempt follows if a redirect is followed, or if ``on_rejected`` asks for it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import suppress
from typing import Final

import trio

from trio_wsclient._client import ConnectionInfo, WebSocketClient
from trio_wsclient._connect.attempt_headers import AttemptHeaders
from trio_wsclient._connect.phases import Phases
from trio_wsclient._connect.route import Route
from trio_wsclient._connection.connection import Connection
from trio_wsclient._connection.queue import ReceiveQueue
from trio_wsclient._errors import (
    ConnectionRejected,
    HandshakeError,
    OpenTimeout,
    ProxyError,
    add_redirects,
)
from trio_wsclient._functions import refuse_async
from trio_wsclient._http.excerpts import WITHHELD, Excerpts
from trio_wsclient._http.handshake import (
    AcceptedUpgrade,
    Handshake,
    is_about_tls,
)
from trio_wsclient._http.http11 import BODY_PATIENCE
from trio_wsclient._http.redirects import RedirectRejected, follow
from trio_wsclient._http.response import Response
from trio_wsclient._http.upgrade import HTTP11Upgrade
from trio_wsclient._http.url import URL
from trio_wsclient._interrupts import call_interruptible, reduce_interrupts
from trio_wsclient._net import connect
from trio_wsclient._net.draining import BROKEN, DrainingStream
from trio_wsclient._net.http_connect import PrefixedStream
from trio_wsclient._net.reasons import describe_error
from trio_wsclient._net.sockets import EagerStream
from trio_wsclient._net.tls_info import TLSInfo
from trio_wsclient._observe import Log
from trio_wsclient._options import Options
from trio_wsclient._protocol.deflate import AnyExtension, Deflate
from trio_wsclient._protocol.frames import IMPLEMENTATION
from trio_wsclient._protocol.limits import Limits
from trio_wsclient._protocol.protocol import Protocol
from trio_wsclient._scheduling import import_in_thread


class Connector:
    """One opening.

    Args:
        url: The URL that the user has asked for. Redirects that are followed replace it.
        options: The options.
    """

    def __init__(self, url: URL, options: Options) -> None:
        self._options = options
        self._url = url
        self._log: Final = Log(options.logger, url.redacted, options.observer)
        self._headers = AttemptHeaders(options)
        self._phases = Phases(self._log)
        self._redirects: list[str] = []  # the URLs that were left behind
        self._redirected_by: list[str] = []  # the same, as a text may show them
        self._route: Route  # of the present attempt
        self._tls: TLSInfo | None = None  # of the present URL, if that is secure
        self._same_origin = True  # whether no redirect has led to another origin
        self._handshake: Handshake
        self._excerpts: Excerpts | None = None  # of the latest request
        self._upgrade: HTTP11Upgrade
        # What makes the error of a rejection, whose body is still coming.
        self._pending_rejection: Callable[[], HandshakeError] | None = None
        self._stream = options.stream  # what is open, and ours to close if all does not end well

    async def open(self) -> tuple[Connection, WebSocketClient]:
        """Open the connection; if that fails, or is cancelled, leave nothing open."""
        try:
            return await self._open_in_time()
        except BaseException as exc:
            self._report_failure(exc)
            raise
        finally:
            # It refers to this object, so both would wait for the collector.
            self._pending_rejection = None

    async def _open_in_time(self) -> tuple[Connection, WebSocketClient]:
        timeout = math.inf if self._options.open_timeout is None else self._options.open_timeout
        try:
            with trio.move_on_after(timeout):
                # One deadline for all attempts: the first, followed redirects, and the one for
                # `on_rejected`.
                while True:
                    opened = await self._attempt()
                    if opened is not None:
                        return opened
            raise self._timeout_error(timeout)
        except BaseException:
            # If closing raises Ctrl-C, that leaves instead, and is reported.
            await self._close_stream()  # noqa: ASYNC102 shielded inside
            raise

    def _timeout_error(self, seconds: float) -> HandshakeError:
        """Return the error of an opening that took too long: what came of a rejection, if any."""
        rejection = None if self._pending_rejection is None else self._pending_rejection()
        if rejection is not None and self._phases.current != "headers":
            return rejection
        assert self._phases.current is not None
        error = OpenTimeout(seconds, self._phases.current)
        error.__cause__ = rejection  # It is `on_rejected` that took too long.
        return error

    async def _attempt(self) -> tuple[Connection, WebSocketClient] | None:
        """Open at the present URL; return ``None`` if there is to be another attempt."""
        options, url = self._options, self._url
        self._pending_rejection = None
        self._route = Route(url, options, self._phases)
        if self._headers.asks_first:
            self._phases.enter("headers", "asking extra_headers")
        fields = await self._headers.for_attempt()
        if self._headers.asks_first:
            await trio.lowlevel.checkpoint()  # The function may have used up the time.
        # A new key, and the header fields of this attempt.
        self._handshake = Handshake(
            url,
            fields=fields,
            subprotocols=options.subprotocols,
            extensions=self._extensions(),
            earlier=self._excerpts,
        )
        self._excerpts = self._handshake.excerpts
        self._upgrade = HTTP11Upgrade(self._handshake)
        if self._stream is None:
            self._stream = await self._route.connect(self._note_rejection)
            if options.open_stream is not None:
                await trio.lowlevel.checkpoint()  # as above
        # Ask before TLS is put around the stream: below is what knows the addresses.
        addresses = _addresses(self._stream)
        if url.secure:
            self._phases.enter("tls", "TLS with %s", self._server_hostname)
            self._stream, self._tls = await connect.start_tls(
                self._stream,
                ssl_context=options.ssl_context,
                server_hostname=self._server_hostname,
            )
            if options.check_tls is not None:
                self._check_tls(options.check_tls, self._tls)
                await trio.lowlevel.checkpoint()  # as above
        self._phases.enter("handshake", "asking for %s", self._log.url)
        accepted = await self._shake_hands(self._stream)
        if accepted is None:
            await self._close_stream()
            # on_rejected and redirect_headers may have used up the time, too.
            await trio.lowlevel.checkpoint()
            return None
        return self._opened(self._stream, accepted, addresses)

    def _report_failure(self, exc: BaseException) -> None:
        if isinstance(exc, HandshakeError):
            self._note_route(exc)
            self._log.debug("not open: %s", exc, phase=self._phases.current)
        self._phases.leave()
        number, shown, phases = self._log.connection_id, self._log.url, self._phases.seconds
        error = reduce_interrupts(exc)
        if isinstance(error, HandshakeError) and error.connection_id is None:
            error.connection_id = number
        self._log.observe(lambda observer: observer.opening_failed(number, shown, error, phases))

    def _note_route(self, error: HandshakeError) -> None:
        notes = []
        if self._redirected_by:
            notes.append(f"redirected from {' and '.join(self._redirected_by)}")
        if self._route.proxy is not None and not isinstance(error, ProxyError):
            notes.append(f"through the proxy {self._route.proxy}")
        add_redirects(error, self._redirects, notes)

    async def _close_stream(self) -> None:
        if self._stream is not None:
            stream, self._stream = self._stream, None
            await connect.close_forcefully(stream)

    # TLS

    @property
    def _server_hostname(self) -> str:
        own = self._options.server_hostname if self._same_origin else None
        return own or self._url.server_hostname

    @staticmethod
    def _check_tls(check: Callable[[TLSInfo], None], info: TLSInfo) -> None:
        """Have the user check the server, before any byte of the request is sent.

        Raises:
            TypeError: The function has returned something. It may have been meant as the verdict,
                which would have no effect.
        """
        result: object = call_interruptible(check, info)
        if result is None:
            return
        refuse_async("check_tls", result)
        kind = type(result).__name__
        raise TypeError(f"check_tls has to raise if it refuses, and to return None, not {kind}")

    # The handshake

    def _extensions(self) -> list[AnyExtension]:
        options = self._options
        if options.deflate is None:
            return [*options.extensions]
        deflate = Deflate(options.deflate, Limits(options.max_message_size))
        return [deflate, *options.extensions]

    async def _shake_hands(self, stream: trio.abc.Stream) -> AcceptedUpgrade | None:
        """Shake hands for WebSocket; return ``None`` if there is to be another attempt."""
        # If a write fails, the server may have answered before: read that first.
        upgrade, draining = self._upgrade, DrainingStream(stream)
        try:
            await draining.send_all(upgrade.request_data)
            while not (upgrade.complete or upgrade.rejected):
                data = await draining.receive_some(upgrade.read_size)
                # The usual 101 is parsed without h11, if it has come in one read.
                if not upgrade.receive_plain_101(data):
                    await import_in_thread("h11")
                    upgrade.receive_data(data)
        except BROKEN as exc:
            cause = exc.__cause__ or exc
            advice = "" if self._url.secure else "; does the server want wss?"
            text = f"the connection broke in the handshake: {describe_error(cause)}{advice}"
            raise HandshakeError(text) from cause
        if upgrade.accepted is not None:
            return upgrade.accepted
        target, problem = self._redirect_target()
        if target is not None:
            self._follow(target)
            return None
        self._note_rejection(lambda: self._rejection(problem))
        # The body often says why. It is worth a second, and no error of its own.
        with suppress(*BROKEN), trio.move_on_after(BODY_PATIENCE):
            while not upgrade.complete:
                upgrade.receive_data(await draining.receive_some(upgrade.read_size))
        if not self._headers.asks_if_rejected:
            raise self._rejection(problem)
        await self._ask_on_rejected(problem)
        return None

    async def _ask_on_rejected(self, problem: str) -> None:
        """Have a function of the user's say how to repeat the request.

        Raises:
            ConnectionRejected: It is not to be repeated.
        """
        # No connection is held while the function fetches a token.
        await self._close_stream()
        self._phases.enter(
            "headers", "asking on_rejected about status %d", self._response.status_code
        )
        error = self._rejection(problem)
        self._note_route(error)
        try:
            if not await self._headers.ask_on_rejected(error):
                raise error
        finally:
            del error  # Its traceback has this frame, so both would be garbage in a cycle.

    def _note_rejection(self, rejection: Callable[[], HandshakeError]) -> None:
        self._pending_rejection = rejection

    def _rejection(self, problem: str) -> ConnectionRejected:
        response, body = self._response, self._upgrade.body
        if not problem and not self._url.secure and is_about_tls(response, body):
            problem = "does the server want wss?"
        if not problem and response.status_code == 407:  # noqa: PLR2004
            problem = "does a proxy answer instead of the server? See proxy"
        return ConnectionRejected(
            response.status_code,
            response.headers,
            body,
            problem,
            response.reason_phrase,
            self._handshake.excerpts.rejection(response, body, problem),
            str(self._url),
        )

    @property
    def _response(self) -> Response:
        response = self._upgrade.response
        assert response is not None
        return response

    # Redirects

    def _redirect_target(self) -> tuple[URL | None, str]:
        """Return where to follow the response to, if anywhere, or else why not."""
        max_redirects, response = self._options.max_redirects, self._response
        location = self._handshake.excerpts.location(response.headers)
        try:
            target = follow(self._url, response.status_code, response.headers)
        except RedirectRejected as exc:
            return None, f"{exc}: {location}" if location else str(exc)
        if target is None:
            return None, ""
        if not max_redirects:
            return None, f"a redirect to {location}: set max_redirects to follow it"
        if len(self._redirects) >= max_redirects:
            return (
                None,
                f"a redirect to {location}, after max_redirects={max_redirects} were followed",
            )
        is_local = self._options.unix_socket is not None
        if is_local and target.origin != self._url.origin:
            return None, f"a redirect from a unix socket to another origin: {location}"
        return target, ""

    def _follow(self, target: URL) -> None:
        # The server may have put a secret of the request into it.
        shown = self._handshake.excerpts.quote(target.redacted) or WITHHELD
        self._log.debug(
            "redirected by status %d to %s",
            self._response.status_code,
            shown,
            phase=self._phases.current,
        )
        if target.origin != self._url.origin:
            self._headers.change_origin(target)
            self._same_origin = False
        self._redirects.append(str(self._url))
        self._redirected_by.append(self._log.url)
        self._url = target
        self._log.url = shown

    # The outcome

    def _opened(
        self, stream: trio.abc.Stream, accepted: AcceptedUpgrade, addresses: tuple[object, object]
    ) -> tuple[Connection, WebSocketClient]:
        options = self._options
        in_use = tuple(extension.name for extension in accepted.extensions)
        if self._log.wants_debug:
            self._log.debug(
                "open; extensions: %s; declined: %s; frames by %s",
                ", ".join(in_use) or "none",
                ", ".join(self._handshake.declined(accepted)) or "none",
                IMPLEMENTATION,
                phase=self._phases.current,
            )
        protocol = Protocol(
            limits=Limits(options.max_message_size, options.max_frame_size),
            decode_text=options.decode_text,
            extensions=accepted.extensions,
            listener=self._log,
        )
        trailing_data = self._upgrade.trailing_data
        if trailing_data:
            protocol.receive_data(trailing_data)
        connection = Connection(
            stream,
            protocol,
            ReceiveQueue(
                max_buffered_bytes=options.max_buffered_bytes, decode_text=options.decode_text
            ),
            self._log,
            close_timeout=options.close_timeout,
            shares_reading=isinstance(stream, EagerStream),
        )
        connection.stream_reader.bytes_received = len(trailing_data)
        opened = ConnectionInfo(
            url=self._url,
            shown_url=self._log.url,
            redirects=tuple(self._redirects),
            subprotocol=accepted.subprotocol,
            extensions=in_use,
            response_headers=accepted.headers,
            local_address=addresses[0],
            remote_address=addresses[1],
            tls=self._tls if self._url.secure else self._users_tls(stream),
            fragment_size=options.fragment_size,
            logger=options.logger,
        )
        self._phases.leave()
        number, shown, phases = self._log.connection_id, self._log.url, self._phases.seconds
        self._log.observe(lambda observer: observer.opened(number, shown, phases))
        return connection, WebSocketClient(connection, opened)

    def _users_tls(self, stream: trio.abc.Stream) -> TLSInfo | None:
        """Return what TLS has agreed on that the user has started, if it is that."""
        is_users = (self._options.stream or self._options.open_stream) is not None
        return connect.tls_info(stream) if is_users else None


def _addresses(stream: trio.abc.Stream) -> tuple[object, object]:
    if isinstance(stream, EagerStream | trio.SocketStream):
        with suppress(OSError):  # The server may have left already.
            return stream.socket.getsockname(), stream.socket.getpeername()
    elif isinstance(stream, trio.SSLStream):
        return _addresses(stream.transport_stream)
    elif isinstance(stream, PrefixedStream):
        return _addresses(stream.stream)
    return None, None
