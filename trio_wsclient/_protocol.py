"""The open connection (RFC 6455 §5 to §7), without I/O: bytes in and events out, and back.

Theory of operation
-------------------

wsproto judges the frames; around it stands what it leaves to its user.

*Input* is cut at the borders of frames here: ``_take_header`` holds back a header (2 to 10 bytes)
until it is whole, hands it to wsproto, and only if wsproto has accepted it are the limits applied,
before any of the payload has come. A payload is passed on as it arrives; nothing is ever allocated
by a declared length.

*Text travels through wsproto as Binary*, both ways: the opcode in the header is changed from 1 to 2
before wsproto sees it, and back on the way out. So there is one place that checks UTF-8, as early
as RFC 6455 §8.1 allows; it can be switched off; and a fragment keeps its bytes though a code
point may be cut.

*How it ends* is one fact, ``ending``, that is set once:

========  ==============================  =========================================
state     ``ending``                      what follows
========  ==============================  =========================================
OPEN      ``None``
CLOSING   ``LOCAL``: ``close`` called     data frames are dropped until the server's Close
CLOSING   ``REMOTE``: the server's Close  its bytes are no longer looked at
CLOSING   ``FAILURE``: see ``failure``    its bytes are no longer looked at
CLOSED    whichever it was                the stream is closed, by ``_connection``
========  ==============================  =========================================

A Close frame of ours is serialised when it is decided, so that nothing can be serialised behind it,
and waits in ``take_close`` for its turn on the stream.
"""

from __future__ import annotations

import codecs
import enum
from typing import Final

import wsproto.events
from wsproto.connection import Connection, ConnectionState, ConnectionType
from wsproto.frame_protocol import CloseReason
from wsproto.utilities import RemoteProtocolError

from trio_wsclient._close import NO_STATUS, CloseFrame, shorten_reason
from trio_wsclient._events import DataFrame, Event, Opcode, Ping, Pong

# Fragments of one message while there is a limit on its size: an endless row of empty ones would
# never reach that. Autobahn 9.3.1 and 9.4.1 send 65,536.
_MAX_FRAGMENTS: Final = 131_072

_SLICE: Final = 64  # headers and payloads a call: about 1 ms with wsproto, while other tasks wait

_CLOSE: Final = 8  # opcode (RFC 6455 §5.2); those from here on are of control frames
_HEADER_SIZE: Final = {126: 4, 127: 10}  # bytes, by the length in the second byte

_BAD_GATEWAY: Final = 1014  # registered with IANA, but unknown to wsproto 1.3,
_TRY_AGAIN_LATER: Final = 1013  # which is shown this one instead


class State(enum.Enum):
    """Where the connection stands."""

    OPEN = enum.auto()
    CLOSING = enum.auto()
    CLOSED = enum.auto()


class Ending(enum.Enum):
    """What ended the connection, whichever was first."""

    LOCAL = enum.auto()
    REMOTE = enum.auto()
    FAILURE = enum.auto()


class Protocol:
    """The protocol of one connection, from the client's side.

    Args:
        decode_text: Whether Text is checked and decoded; otherwise it is handed over as bytes.
        max_message_size: Limit on the bytes of a message, or ``None``.
        max_frame_size: Limit on the bytes of a frame, or ``None``.
        trailing_data: What the server has sent behind its answer to the handshake.
    """

    def __init__(
        self,
        *,
        decode_text: bool = True,
        max_message_size: int | None = None,
        max_frame_size: int | None = None,
        trailing_data: bytes = b"",
    ) -> None:
        self._decode_text = decode_text
        self._max_message_size = max_message_size
        self._max_frame_size = max_frame_size
        self._wsproto = Connection(ConnectionType.CLIENT)

        self.ending: Ending | None = None
        self.failure: BaseException | None = None  # why, if the ending is FAILURE
        self.breach: tuple[BaseException, int] | None = None  # why to fail, and with which code
        self.close_received: CloseFrame | None = None
        self.close_sent: CloseFrame | None = None
        self.cut_off: bool = False  # whether the server's Close stands inside a message
        self._closed = False
        self._close_data = b""  # our Close frame, until it is taken

        self._deaf = False  # whether input is no longer looked at
        self._input = trailing_data
        self._position = 0  # in _input: what is before it has gone to wsproto
        self._starved = not trailing_data  # whether _input holds no more than half a header
        self._remaining = 0  # bytes that have not come yet of the payload under way
        self._frame_opcode = 0  # of the frame under way, any of the sixteen
        self._close_code = NO_STATUS
        self._payload = bytearray()  # of the data frame under way, as far as it has come
        self._message_opcode: Opcode | None = None  # of the message under way
        self._message_size = 0  # bytes, by the headers of its frames
        self._fragments = 0
        self._decoder = codecs.getincrementaldecoder("utf-8")()

    @property
    def state(self) -> State:
        if self._closed:
            return State.CLOSED
        return State.OPEN if self.ending is None else State.CLOSING

    # Endings

    def close(self, code: int, reason: str = "") -> None:
        """Ask for the end, with a Close frame; without effect if it has come already."""
        if self.ending is None:
            self.ending = Ending.LOCAL
            self._serialize_close(CloseFrame(code, reason))

    def fail(self, cause: BaseException, code: int | None = None) -> None:
        """Fail the connection (RFC 6455 §7.1.7), with a Close frame if there is a code for it.

        If it has ended in another way already, nothing but the reading of its input ends.
        """
        self._deaf = True
        if self.ending is None:
            self.ending = Ending.FAILURE
            self.failure = cause
            if code is not None:
                self._serialize_close(CloseFrame(code, shorten_reason(str(cause))))

    def fail_by_breach(self) -> None:
        """Fail the connection for the breach that was found in the input."""
        assert self.breach is not None
        self.fail(*self.breach)
        self.breach = None

    def closed(self) -> None:
        """Take note that the stream is closed."""
        self._deaf = True
        self._closed = True

    def take_close(self) -> bytes:
        """Return our Close frame if it is still to be written, else nothing."""
        data, self._close_data = self._close_data, b""
        return data

    def _serialize_close(self, frame: CloseFrame) -> None:
        self.close_sent = frame
        code = CloseReason.NO_STATUS_RCVD if frame.code == NO_STATUS else frame.code
        close = wsproto.events.CloseConnection(code=code, reason=frame.reason or None)
        self._close_data = bytes(self._wsproto.send(close))

    # Output, only while OPEN

    def send_data(self, opcode: Opcode, payload: bytes, *, fin: bool = True) -> bytes:
        """Serialise a data frame; the payload of Text is UTF-8 that may be cut anywhere."""
        message = wsproto.events.BytesMessage(data=payload, message_finished=fin)
        data = bytes(self._wsproto.send(message))
        if opcode is Opcode.TEXT:
            data = bytes([data[0] ^ Opcode.BINARY ^ Opcode.TEXT]) + data[1:]
        return data

    def send_ping(self, payload: bytes) -> bytes:
        return bytes(self._wsproto.send(wsproto.events.Ping(payload=payload)))

    def send_pong(self, payload: bytes) -> bytes:
        return bytes(self._wsproto.send(wsproto.events.Pong(payload=payload)))

    # Input

    @property
    def input_pending(self) -> bool:
        """Whether ``next_events`` has something to look at without more input."""
        return not (self._starved or self._deaf)

    @property
    def partial_size(self) -> int:
        """How many bytes of a frame have come that is not whole yet."""
        return len(self._payload)

    def receive_data(self, data: bytes) -> None:
        """Take bytes from the server; ``next_events`` says what they mean."""
        self._input = b"" if self._deaf else self._input[self._position :] + data
        self._position = 0
        self._starved = False

    def next_events(self) -> list[Event]:
        """Return the events in the next frames of the input, as many as one slice has.

        The server's Close and its breaches are facts, not events: they are found in
        ``close_received`` and ``breach``, and nothing comes after them. It is for the caller to say
        when a breach takes effect, by ``fail_by_breach``.
        """
        events: list[Event] = []
        for _ in range(_SLICE):
            if self._deaf:
                break
            at_border = not self._remaining
            data = self._take_header() if at_border else self._take_payload()
            if not data:
                self._starved = True
                break
            self._wsproto.receive_data(data)
            for judged in self._wsproto.events():
                event = self._translate(judged)
                if event is not None and self.ending is not Ending.LOCAL:
                    events.append(event)
            if at_border:
                self._check_limits()
        return events

    def _take_header(self) -> bytes:
        """Take a header from the input, if it is there as a whole (RFC 6455 §5.2)."""
        data, start = self._input, self._position
        if len(data) - start < 2:  # noqa: PLR2004
            return b""
        opcode, length = data[start] & 0x0F, data[start + 1] & 0x7F
        is_control = opcode >= _CLOSE
        # RFC 6455 §5.5: a control frame has no extended length; wsproto refuses it by two bytes.
        end = start + (2 if is_control else _HEADER_SIZE.get(length, 2))
        if len(data) < end:
            return b""
        if end - start > 2:  # noqa: PLR2004
            length = int.from_bytes(data[start + 2 : end], "big")
        self._position = end
        self._frame_opcode = opcode
        self._remaining = length
        if is_control:
            return data[start:end]
        if opcode != Opcode.CONTINUATION:
            self._decoder.reset()
        self._message_size += length
        self._fragments += 1
        if opcode != Opcode.TEXT:
            return data[start:end]
        return bytes([data[start] ^ Opcode.TEXT ^ Opcode.BINARY]) + data[start + 1 : end]

    def _take_payload(self) -> bytes:
        """Take what is there of a payload; of a control frame all or nothing."""
        piece = self._input[self._position : self._position + self._remaining]
        is_control = self._frame_opcode >= _CLOSE
        if is_control and len(piece) < self._remaining:
            return b""
        self._position += len(piece)
        self._remaining -= len(piece)
        if self._frame_opcode == _CLOSE:
            self._close_code = int.from_bytes(piece[:2], "big")
            if self._close_code == _BAD_GATEWAY:
                return _TRY_AGAIN_LATER.to_bytes(2, "big") + piece[2:]
        return piece

    def _check_limits(self) -> None:
        """Hold the limits against a header that wsproto has accepted."""
        if self._frame_opcode >= _CLOSE or self.ending is not None:
            return
        limit = self._max_frame_size
        if limit is not None and self._remaining > limit:
            self._too_big(f"a frame of {self._remaining} bytes, over max_frame_size ({limit})")
        limit = self._max_message_size
        if limit is None:
            return
        if self._message_size > limit:
            size = self._message_size
            self._too_big(f"a message of at least {size} bytes, over max_message_size ({limit})")
        if self._fragments > _MAX_FRAGMENTS:
            self._too_big(f"a message of more than {_MAX_FRAGMENTS} frames")

    def _too_big(self, text: str) -> None:
        self._break(RemoteProtocolError(text), CloseReason.MESSAGE_TOO_BIG)

    def _break(self, cause: BaseException, code: int) -> None:
        if self.ending is None and not self._deaf:  # the first one counts
            self.breach = (cause, int(code))
        self._deaf = True

    def _translate(self, judged: wsproto.events.Event) -> Event | None:
        if isinstance(judged, wsproto.events.BytesMessage):
            return self._data_event(judged)
        if isinstance(judged, wsproto.events.Ping):
            return Ping(bytes(judged.payload))
        if isinstance(judged, wsproto.events.Pong):
            return Pong(bytes(judged.payload))
        assert isinstance(judged, wsproto.events.CloseConnection)
        reason = judged.reason or ""
        if self._wsproto.state in {ConnectionState.REMOTE_CLOSING, ConnectionState.CLOSED}:
            self._deaf = True
            self.close_received = CloseFrame(self._close_code, reason)
            if self.ending is None:
                self.ending = Ending.REMOTE
                self.cut_off = self._message_opcode is not None
                # RFC 6455 §5.5.1: the code is echoed.
                self._serialize_close(CloseFrame(self._close_code))
        else:  # So wsproto tells a breach from a Close.
            self._break(RemoteProtocolError(reason), judged.code)
        return None

    def _data_event(self, judged: wsproto.events.BytesMessage) -> Event | None:
        if self.ending is not None:
            return None
        opcode = Opcode(self._frame_opcode)
        whole = opcode is not Opcode.CONTINUATION and judged.message_finished
        if opcode is not Opcode.CONTINUATION:
            self._message_opcode = opcode
        decode = self._decode_text and self._message_opcode is Opcode.TEXT
        try:
            if whole and judged.frame_finished and not self._payload:
                payload = bytes(judged.data)
                text = payload.decode() if decode else ""
            else:
                if decode:
                    self._decoder.decode(judged.data, judged.message_finished)
                self._payload += judged.data
                if not judged.frame_finished:
                    return None
                payload = bytes(self._payload)
                self._payload = bytearray()
                text = payload.decode() if decode and whole else ""
        except UnicodeDecodeError as exc:
            # The decoder's own text would depend on how the bytes were cut.
            not_utf8 = RemoteProtocolError("a Text message is not UTF-8")
            not_utf8.__cause__ = exc
            self._break(not_utf8, CloseReason.INVALID_FRAME_PAYLOAD_DATA)
            return None
        if judged.message_finished:
            self._message_opcode = None
            self._message_size = self._fragments = 0
        if whole and decode:
            return text
        if whole and opcode is Opcode.BINARY:
            return payload
        return DataFrame(opcode, payload, judged.message_finished)
