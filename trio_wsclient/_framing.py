"""wsproto as it is used here: frames out of bytes and back (RFC 6455 §5), through extensions.

*Text travels through wsproto as Binary*, both ways: the opcode in the header is changed from 1 to 2
before wsproto sees it, and back on the way out. So there is one place that checks UTF-8, as early
as RFC 6455 §8.1 allows, in ``_assembly``; it can be switched off; and a fragment keeps its bytes
though a code point may be cut.

Control frames of ours are built here, unless an extension of somebody else's has to see them: most
connections send nothing else that is not in the lane, and never need wsproto until the end.

What comes of the frames is in ``_assembly`` and ``_protocol``: limits and endings.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

import wsproto.events
from wsproto.connection import Connection, ConnectionState, ConnectionType
from wsproto.extensions import Extension
from wsproto.frame_protocol import CloseReason
from wsproto.utilities import LocalProtocolError, RemoteProtocolError

from trio_wsclient import _frames
from trio_wsclient._close import NO_STATUS, CloseFrame
from trio_wsclient._deflate import Deflate
from trio_wsclient._events import Opcode
from trio_wsclient._extensions import Chain
from trio_wsclient._splitter import Splitter

_PIECE: Final = 4096  # bytes into extensions at a time: zlib makes 4 MiB of them at most

_CLOSE: Final = 8  # opcodes (RFC 6455 §5.2)
_PING: Final = 9
_PONG: Final = 10
_FIN: Final = 0x80  # in the first byte of a frame
_RSV1: Final = 0x40  # in the first byte of a frame: compressed (RFC 7692 §6)

_BAD_GATEWAY: Final = 1014  # registered with IANA, but unknown to wsproto 1.3,
_TRY_AGAIN_LATER: Final = 1013  # which is shown this one instead


class Framing:
    """The frames of one connection.

    Args:
        extensions: Those in use, in their order.
    """

    def __init__(self, extensions: Sequence[Extension]) -> None:
        # Whether extensions of others are in use: what ours change can be told from a header.
        self.has_foreign: Final = not all(isinstance(each, Deflate) for each in extensions)
        self._chain = Chain(extensions) if extensions else None
        self._judge: Connection | None = None
        self._is_finished = False  # whether our Close was made
        self._is_bad_gateway = False  # whether the Close under way has code 1014
        self.input: Final = Splitter()
        self.is_plain: bool = True  # whether the message under way passes extensions unchanged

    @property
    def _wsproto(self) -> Connection:
        if self._judge is None:
            chain: list[Extension] = [] if self._chain is None else [self._chain]
            self._judge = Connection(ConnectionType.CLIENT, extensions=chain)
        return self._judge

    # Output. It is None, with the reason in take_failure, where an extension fails to make a frame.

    def send_data(self, opcode: Opcode, payload: bytes, *, fin: bool) -> bytes | None:
        """Serialise a data frame; the payload of Text is UTF-8 that may be cut anywhere."""
        if self._chain is not None:
            self._chain.is_text = opcode is Opcode.TEXT
        data = self._send(wsproto.events.BytesMessage(data=payload, message_finished=fin))
        return _swap_text(data) if data and opcode is Opcode.TEXT else data

    def send_ping(self, payload: bytes) -> bytes | None:
        if self.has_foreign:
            return self._send(wsproto.events.Ping(payload=payload))
        return self._build(_PING, payload)

    def send_pong(self, payload: bytes) -> bytes | None:
        if self.has_foreign:
            return self._send(wsproto.events.Pong(payload=payload))
        return self._build(_PONG, payload)

    def send_close(self, frame: CloseFrame) -> bytes | None:
        if self.has_foreign:
            data = self._send(_close_event(frame))
        else:
            data = self._build(_CLOSE, _close_payload(frame))
        self._is_finished = True
        return data

    def _build(self, opcode: int, payload: bytes) -> bytes:
        self._check_unfinished()
        return _frames.build(_FIN | opcode, payload)

    def _check_unfinished(self) -> None:
        if self._is_finished:
            raise LocalProtocolError("nothing can be sent behind a Close")  # RFC 6455 §5.5.1

    def _send(self, event: wsproto.events.Event) -> bytes | None:
        self._check_unfinished()
        data = bytes(self._wsproto.send(event))
        return data if self._chain is None or self._chain.failure is None else None

    def take_failure(self) -> tuple[Exception, int]:
        """Return why an extension has failed, and the code to fail the connection with."""
        assert self._chain is not None
        assert self._chain.failure is not None
        failure, self._chain.failure = self._chain.failure, None
        return failure

    # Input

    def take(self) -> bytes:
        """Take a header or a payload, as wsproto is to see it; nothing at the end of the input."""
        return self._take_header() if self.input.at_border else self._take_payload()

    def judge(self, data: bytes) -> Iterable[wsproto.events.Event]:
        """Have wsproto say what has been taken."""
        self._wsproto.receive_data(data)
        return self._wsproto.events()

    def received_close(self, event: wsproto.events.CloseConnection) -> CloseFrame | None:
        """Return the server's Close; ``None`` if the event stands for a breach."""
        # So wsproto tells them apart.
        if self._wsproto.state not in {ConnectionState.REMOTE_CLOSING, ConnectionState.CLOSED}:
            return None
        code = _BAD_GATEWAY if self._is_bad_gateway else int(event.code)
        return CloseFrame(code, event.reason or "")

    def breach(self, event: wsproto.events.CloseConnection) -> tuple[Exception, int]:
        """Return what is wrong with the server's frames, and the code that says so."""
        if self._chain is not None and self._chain.failure is not None:
            return self.take_failure()
        return RemoteProtocolError(event.reason or ""), int(event.code)

    def _take_header(self) -> bytes:
        header = self.input.take_header()
        if not header or self.input.is_control:
            return header
        opcode = self.input.opcode
        if opcode != Opcode.CONTINUATION:
            is_compressed = self._chain is not None and header[0] & _RSV1
            self.is_plain = not (self.has_foreign or is_compressed)
        if self._chain is not None:
            self._chain.is_text = opcode == Opcode.TEXT
        return _swap_text(header) if opcode == Opcode.TEXT else header

    def _take_payload(self) -> bytes:
        piece = self.input.take_payload(None if self.is_plain else _PIECE)
        # An extension that changes control frames has to be shown them as they are.
        if self.input.opcode == _CLOSE and not self.has_foreign:
            self._is_bad_gateway = int.from_bytes(piece[:2], "big") == _BAD_GATEWAY
            if self._is_bad_gateway:
                return _TRY_AGAIN_LATER.to_bytes(2, "big") + piece[2:]
        return piece


def bare_close(frame: CloseFrame) -> bytes:
    """Serialise a Close that no extension has touched."""
    return _frames.build(_FIN | _CLOSE, _close_payload(frame))


def _close_payload(frame: CloseFrame) -> bytes:
    return b"" if frame.code == NO_STATUS else frame.code.to_bytes(2, "big") + frame.reason.encode()


def _close_event(frame: CloseFrame) -> wsproto.events.CloseConnection:
    code = CloseReason.NO_STATUS_RCVD if frame.code == NO_STATUS else frame.code
    return wsproto.events.CloseConnection(code=code, reason=frame.reason or None)


def _swap_text(data: bytes) -> bytes:
    """Change the opcode in a header from Text to Binary, or back."""
    return bytes([data[0] ^ Opcode.TEXT ^ Opcode.BINARY]) + data[1:]
