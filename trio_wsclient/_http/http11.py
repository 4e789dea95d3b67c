"""One HTTP/1.1 request and its response (RFC 9112), without I/O.

`plain_101` parses the usual 101, and h11 everything else. The limits are kept here, so that the
verdict does not depend on how the bytes were cut. ``upgrade`` and ``_net.http_connect`` check what
the response means.

Most programs never need h11, and to import it takes 10 ms. So only `HTTP11Exchange.receive_data`
imports it. The caller sees to it that a thread has done so before.

A hostile server can make h11 work for seconds. So the caller reads no more than ``read_size`` bytes
at a time, and other tasks run between two reads. h11 parses a head in one pass. So the lines,
commas and spaces of a head are counted while its bytes come, and each byte that makes h11's regular
expressions try again and again is refused before.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from trio_wsclient._headers import Headers
from trio_wsclient._http.excerpts import WITHHELD, Excerpts
from trio_wsclient._http.plain_101 import parse_plain_101
from trio_wsclient._http.response import Response

if TYPE_CHECKING:
    import h11

MAX_HEAD_SIZE: Final = 65_536  # bytes, interim responses included; four times h11's own default
BODY_PATIENCE: Final = 1.0  # seconds: a rejection is one, with or without its error page
_MAX_BODY_SIZE: Final = 65_536  # bytes of a rejection's body that are kept: an error page
MAX_FIELDS: Final = 256  # of a head; twice what http.client and websockets take
# Commas of all heads. h11 splits some fields at commas, and so do we: 0.3 µs each.
MAX_COMMAS: Final = 2048
# Spaces and tabs of all heads. For h11 a value is a row of words: 0.1 µs each.
MAX_SPACES: Final = 16_384
# Bytes to read at a time. The first read is larger, as the fast path needs the complete head.
# The costliest bytes are chunks of one byte: 2 µs for each byte on the wire.
_FIRST_READ_SIZE: Final = 1024
_READ_SIZE: Final = 256
# bytes: h11 applies its limit to what is in its buffer, so the verdict would depend on how the
# bytes were cut. Fed in small pieces, under a limit that they never reach, ours is the only one.
_PIECE: Final = 256
# Bytes of the header of a chunk, or of the fields after the last chunk (RFC 9112 §7.1). h11 parses
# these fields in one pass, and in quadratic time if they have a run of spaces.
_MAX_CHUNK_HEADER: Final = 256
# White space that no field may have (RFC 9110 §5.5), and NUL. h11 refuses these, too, but in
# quadratic time after a run of spaces.
_FORBIDDEN: Final = re.compile(rb"[\0\v\f]|\r(?!\n|\Z)")
_ALL: Final = Excerpts()  # for a request without a secret
_START: Final = b"HTTP/"  # the first bytes of every response (RFC 9112 §4)
_BYTEARRAY: Final = re.compile(r"""bytearray\(b(['"].*['"])\)""")  # how h11 quotes a line
_SETTINGS: Final = b"\x04\x00"  # type and flags of the first frame of HTTP/2 (RFC 9113 §3.4)
_CONTROL_CHARACTER: Final = "not HTTP/1.1: a control character in the response headers"
_TLS_RECORDS: Final = (0x15, 0x16)  # alert, handshake: the first byte (RFC 8446 §5.1)


class MalformedResponse(Exception):
    """The response breaks HTTP/1.1, or ended before its head was complete; the text says how."""


class SpeaksTLS(MalformedResponse):
    """The peer speaks TLS, and nobody has asked it to."""


class OtherProtocol(MalformedResponse):
    """The peer speaks another protocol.

    Attributes:
        came: What it has said first.
    """

    def __init__(self, text: str, came: bytes) -> None:
        super().__init__(text)
        self.came = came


class NoResponse(MalformedResponse):
    """The peer ended TCP without a byte of a response."""


class HTTP11Exchange:
    """A request without a body, and what the peer responds.

    Args:
        method: ``"GET"`` for an upgrade, or ``"CONNECT"``.
        target: The target in the request line, in ASCII.
        fields: The header fields, ``Host`` first. Each was checked before: nothing here can keep a
            line break out of the request.
        excerpts: What an error may quote of a response.
    """

    def __init__(
        self,
        method: str,
        target: str,
        fields: Sequence[tuple[str, str]],
        excerpts: Excerpts = _ALL,
    ) -> None:
        self._request = (method, target, fields)
        self._excerpts = excerpts
        self._http: h11.Connection | None = None  # once it has to parse
        self._head_size = 0
        self._lines = 0  # of the head that is coming
        self._commas = self._spaces = 0  # of all heads
        self._may_continue = True  # whether what comes next may be something else than LF
        self._start = b""  # the first bytes that came, as many as `_START` has
        self._body = bytearray()
        self._body_complete = False
        self.response: Response | None = None
        self.switched: bool = False  # whether the response ends HTTP: a 101, or a 2xx to CONNECT
        self.trailing_data: bytes = b""  # what came after such a response
        # Not by an f-string: the text that was checked is sent, whatever `__format__` of a subclass
        # of `str` returns (an `enum.Enum` has one).
        lines = ["".join((name, ": ", value, "\r\n")) for name, value in fields]  # noqa: FLY002
        head = "".join((method, " ", target, " HTTP/1.1\r\n", *lines, "\r\n"))
        self.request_data: Final = head.encode("ascii")

    @property
    def rejected(self) -> bool:
        """Whether the head of a response has come that does not end HTTP."""
        return self.response is not None and not self.switched

    @property
    def complete(self) -> bool:
        """Whether nothing more needs to be read."""
        return self.switched or self._body_complete

    @property
    def read_size(self) -> int:
        """How many bytes to read next, at most. Other tasks have to run between two reads."""
        return _READ_SIZE if self._start else _FIRST_READ_SIZE

    @property
    def body(self) -> bytes:
        """What has come of a rejection's body."""
        return bytes(self._body)

    def receive_plain_101(self, data: bytes) -> bool:
        """Take bytes by the fast path, without h11; return whether that was possible."""
        if self._start or self._request[0] == "CONNECT":
            return False
        plain = parse_plain_101(data)
        if plain is None:
            return False
        self._start = _START
        self.response, self.trailing_data = plain
        self.switched = True
        return True

    def receive_data(self, data: bytes) -> None:
        """Take bytes from the peer; ``b""`` is the end of its stream.

        Raises:
            MalformedResponse: See there. Once there is a rejection its body may be anything.
        """
        if self.receive_plain_101(data):
            return
        import h11  # noqa: PLC0415 see above

        self._check_start(data)
        start = 0
        while not self.complete:
            http = self._http or self._begin_parsing()
            # No byte of the head beyond the limit is looked at, however the bytes were cut.
            size = _PIECE if self.rejected else min(_PIECE, MAX_HEAD_SIZE - self._head_size)
            if data and size == 0:
                raise MalformedResponse(f"more than {MAX_HEAD_SIZE} bytes of response headers")
            end = start + size
            if not self.rejected:  # No piece has parts of two lines.
                end = data.find(b"\n", start, end) + 1 or end
            piece = data[start:end]
            start += len(piece)
            if not self.rejected:
                self._check_piece(piece)
            try:
                http.receive_data(piece)
                self._next_events(http, len(piece))
            except h11.RemoteProtocolError as exc:
                # Break a cycle: h11 raises some of these in a frame that refers to them.
                exc.__traceback__ = None
                if self.rejected:  # A rejection stays one, also with half a body.
                    self._body_complete = True
                elif not piece:
                    raise self._cut_off() from EOFError("the peer ended TCP")
                else:
                    # h11 calls it so for responses too, if it gives up at the first byte.
                    text = str(exc).replace("illegal request line", "illegal status line")
                    text = _BYTEARRAY.sub(r"\1", text)
                    shown = self._excerpts.quote(text)
                    # A cause is in the traceback, so its text may have no secret either.
                    cause = exc if shown else None
                    raise MalformedResponse(f"not HTTP/1.1: {shown or WITHHELD}") from cause
            if start == len(data):
                break
        if self.switched:
            self.trailing_data += data[start:]

    def _begin_parsing(self) -> h11.Connection:
        """Let h11 parse from here on; it has to know the request."""
        import h11  # noqa: PLC0415 see above

        method, target, fields = self._request
        self._http = h11.Connection(h11.CLIENT, max_incomplete_event_size=2 * MAX_HEAD_SIZE)
        self._http.send(h11.Request(method=method, target=target, headers=[*fields]))
        self._http.send(h11.EndOfMessage())
        return self._http

    def _check_piece(self, piece: bytes) -> None:
        """Refuse a head before h11 parses it, if that would take long."""
        if piece and not (self._may_continue or piece.startswith(b"\n")):
            raise MalformedResponse(_CONTROL_CHARACTER)
        self._may_continue = not piece.endswith(b"\r")
        if _FORBIDDEN.search(piece):
            raise MalformedResponse(_CONTROL_CHARACTER)
        self._commas += piece.count(b",")
        if self._commas > MAX_COMMAS:
            raise MalformedResponse(f"more than {MAX_COMMAS} commas in the response headers")
        self._spaces += piece.count(b" ") + piece.count(b"\t")
        if self._spaces > MAX_SPACES:
            raise MalformedResponse(f"more than {MAX_SPACES} spaces in the response headers")
        # A status line and the fields; the line after them has to be empty, and end the head.
        if self._lines > MAX_FIELDS and piece.strip(b"\r\n"):
            raise MalformedResponse(f"more than {MAX_FIELDS} response headers")
        self._lines += piece.endswith(b"\n")

    def _check_start(self, data: bytes) -> None:
        """Check the first bytes: the greeting of another protocol has no blank line at its end."""
        if len(self._start) == len(_START):
            return
        came = self._start + data
        self._start = came[: len(_START)]
        if _START.startswith(self._start):
            return
        if came[0] in _TLS_RECORDS:
            raise SpeaksTLS("not HTTP/1.1: a TLS record")
        if self.request_data.startswith(came):
            raise MalformedResponse("not HTTP/1.1: the request itself came back")
        if came[:1] == b"\0" and came[3:5] == _SETTINGS:
            raise MalformedResponse("not HTTP/1.1: the peer speaks HTTP/2, which was not asked for")
        line = self._excerpts.show(came.splitlines()[0].decode("latin-1"))
        raise OtherProtocol(f"not HTTP/1.1: {line}", came)

    def _cut_off(self) -> MalformedResponse:
        if not self._start:
            return NoResponse("TCP ended without a response")
        return MalformedResponse("TCP ended before the response was complete")

    def _next_events(self, http: h11.Connection, size: int) -> None:
        import h11  # noqa: PLC0415 see above

        if not self.rejected:
            self._head_size += size
        while True:
            event = http.next_event()
            if isinstance(event, h11.InformationalResponse | h11.Response):
                self._lines = 0
                self.switched = http.their_state is h11.SWITCHED_PROTOCOL
                # RFC 9110 §15.2: a client takes 100, 103 and their like and waits on.
                if isinstance(event, h11.Response) or self.switched:
                    self.response = _response(event)
                if self.switched:
                    self.trailing_data, _ = http.trailing_data
                    return
            elif isinstance(event, h11.Data):
                self._body += event.data
                if len(self._body) >= _MAX_BODY_SIZE:
                    del self._body[_MAX_BODY_SIZE:]
                    self._body_complete = True
                    return
            elif isinstance(event, h11.EndOfMessage):
                self._body_complete = True
                return
            else:  # h11.NEED_DATA
                if self.rejected and len(http.trailing_data[0]) > _MAX_CHUNK_HEADER:
                    self._body_complete = True
                return


def _response(event: h11.Response | h11.InformationalResponse) -> Response:
    fields = event.headers.raw_items()
    return Response(
        event.http_version.decode("ascii"),
        event.status_code,
        event.reason.decode("latin-1"),
        Headers((name.decode("ascii"), value.decode("latin-1")) for name, value in fields),
    )
