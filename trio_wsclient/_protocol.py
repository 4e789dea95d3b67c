"""The open connection (RFC 6455 §5 to §7), without I/O: bytes in and events out, and back.

Theory of operation
-------------------

``_framing`` cuts the input at the borders of frames and has wsproto judge them; ``_assembly`` holds
the limits, and makes of data frames what is handed over. ``_lane`` goes past both.

*How it ends* is one fact, ``ending``, that is set once:

=======  ===============================================  =========================================
state    ``ending``                                       what follows
=======  ===============================================  =========================================
OPEN     ``None``
CLOSING  ``LOCAL``: this side has closed                  data frames dropped until theirs comes
CLOSING  ``REMOTE``: the server's Close has come          its bytes are no longer looked at
CLOSING  ``FAILURE``: a breach, or the stream has failed  its bytes are no longer looked at
CLOSED   whichever it was                                 the stream is closed, by ``_connection``
=======  ===============================================  =========================================

A Close frame of ours is serialised when it is decided, so that nothing can be serialised behind it,
and waits in ``take_close`` for its turn on the stream.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable, Sequence
from typing import Final

import wsproto.events
from wsproto.extensions import Extension

from trio_wsclient._assembly import Assembly
from trio_wsclient._breach import Breach
from trio_wsclient._close import CloseFrame, shorten_reason
from trio_wsclient._deflate import Deflate
from trio_wsclient._events import Batch, Entry, Event, Opcode, Ping, Pong
from trio_wsclient._framing import Framing, bare_close
from trio_wsclient._lane import Lane
from trio_wsclient._splitter import Trace

_SLICE: Final = 64  # headers and payloads a call: about 1 ms with wsproto, while other tasks wait
_SLICE_SIZE: Final = 1_048_576  # bytes out of extensions a call, for the same reason


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
        max_frame_size: Limit on the bytes of a frame on the wire, or ``None``.
        extensions: Those in use, in their order.
    """

    def __init__(
        self,
        *,
        decode_text: bool = True,
        max_message_size: int | None = None,
        max_frame_size: int | None = None,
        extensions: Sequence[Extension] = (),
    ) -> None:
        self._framing = Framing(extensions)
        self._input = self._framing.input
        self._assembly = Assembly(
            self._framing,
            decode_text=decode_text,
            max_message_size=max_message_size,
            max_frame_size=max_frame_size,
        )
        self._deflate = next((each for each in extensions if isinstance(each, Deflate)), None)
        self._lane: Lane | None = None
        if not self._framing.has_foreign:
            self._lane = Lane(
                self._framing.input,
                self._deflate,
                decode_text=decode_text,
                max_message_size=max_message_size,
                max_frame_size=max_frame_size,
            )

        self.ending: Ending | None = None
        self.failure: BaseException | None = None  # why, if the ending is FAILURE
        self.breach: tuple[BaseException, int] | None = None  # why to fail, and with which code
        self.close_received: CloseFrame | None = None
        self.close_sent: CloseFrame | None = None
        self.cut_off: bool = False  # whether the server's Close stands inside a message
        self._closed = False
        self._close_data = b""  # our Close frame, until it is taken
        self._is_mute = False  # whether an extension has failed to make a frame

        self._deaf = False  # whether input is no longer looked at

    @property
    def state(self) -> State:
        if self._closed:
            return State.CLOSED
        return State.OPEN if self.ending is None else State.CLOSING

    @property
    def saved(self) -> tuple[int, int]:
        """How many bytes compression has saved, of what was sent, and of what was received."""
        deflate = self._deflate
        return (0, 0) if deflate is None else (deflate.saved_sent, deflate.saved_received)

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

    @property
    def close_is_due(self) -> bool:
        """Whether our Close frame is still to be written."""
        return bool(self._close_data)

    def take_close(self) -> bytes:
        """Return our Close frame if it is still to be written, else nothing."""
        data, self._close_data = self._close_data, b""
        return data

    def _serialize_close(self, frame: CloseFrame) -> None:
        self.close_sent = frame
        data = self._framing.send_close(frame)
        if data is None:
            cause, code = self._framing.take_failure()
            if self.ending is Ending.LOCAL:
                self.ending = Ending.FAILURE
                self.failure = cause
                self._deaf = True
                self.close_sent = frame = CloseFrame(code, shorten_reason(str(cause)))
            data = bare_close(frame)
        self._close_data = data

    # Output, only while OPEN. If an extension fails to make a frame, the connection has failed:
    # there is nothing to write but the Close.

    def send_data(self, opcode: Opcode, payload: bytes, *, fin: bool = True) -> bytes:
        """Serialise a data frame; the payload of Text is UTF-8 that may be cut anywhere."""
        lane = self._lane
        if lane is None or self.ending is not None or not fin or opcode is Opcode.CONTINUATION:
            return self._send_frame(opcode, payload, fin=fin)
        return lane.build(opcode, payload)

    def _send_frame(self, opcode: Opcode, payload: bytes, *, fin: bool) -> bytes:
        return self._make(lambda: self._framing.send_data(opcode, payload, fin=fin))

    def send_long(self, opcode: Opcode, payload: bytes) -> Iterable[bytes | bytearray]:
        """Serialise a whole message, piece by piece as it is written, if that is possible."""
        if self._lane is not None and self.ending is None:
            return self._lane.build_in_pieces(opcode, payload)
        return [self.send_data(opcode, payload)]

    def send_ping(self, payload: bytes) -> bytes:
        return self._make(lambda: self._framing.send_ping(payload))

    def send_pong(self, payload: bytes) -> bytes:
        return self._make(lambda: self._framing.send_pong(payload))

    def _make(self, serialize: Callable[[], bytes | None]) -> bytes:
        data = None if self._is_mute else serialize()
        if data is None and not self._is_mute:
            self._is_mute = True
            self.fail(*self._framing.take_failure())
        return data or b""

    # Input

    @property
    def input_pending(self) -> bool:
        """Whether ``next_events`` has something to look at without more input."""
        return not (self._input.starved or self._deaf)

    @property
    def partial_size(self) -> int:
        """How many bytes of a frame have come that is not whole yet."""
        in_lane = 0 if self._lane is None else self._lane.partial_size
        return self._assembly.partial_size + in_lane

    def receive_data(self, data: bytes, trace: Trace | None = None) -> None:
        """Take bytes from the server; ``next_events`` says what they mean.

        Args:
            data: The bytes.
            trace: Where frames on the wire are told of from now on.
        """
        self._input.trace = trace
        if not self._deaf:
            self._input.feed(data)

    def receive_plain(self, data: bytes, trace: Trace | None = None) -> tuple[list[Entry], int]:
        """Do as ``receive_data``, but return the plain messages with which the bytes begin.

        Nearly always that is all of them.

        Returns:
            The messages, and how many bytes they take.
        """
        lane = self._lane
        if (
            lane is not None
            and self.ending is None
            and not self._assembly.is_inside
            and trace is None
            and not self._deaf
            and self._input.is_empty
        ):
            self._input.trace = None
            return lane.take_at_once(data)
        self.receive_data(data, trace)
        return [], 0

    def next_events(self) -> list[Event]:
        """Return the events in the next frames of the input, as many as one slice has.

        The server's Close and its breaches are facts, not events: they are found in
        ``close_received`` and ``breach``, and nothing comes after them. It is for the caller to say
        when a breach takes effect, by ``fail_by_breach``.
        """
        framing, lane = self._framing, self._lane
        events: list[Event] = []
        size = 0  # bytes that a user's extensions have made
        before = self._inflating
        for _ in range(_SLICE):
            if self._deaf or size + self._inflating - before > _SLICE_SIZE:
                break
            if lane is not None and self._lane_is_open(lane):
                event = self._take_from(lane)
                if event is not None:
                    events.append(event)
                    if self._input.starved:
                        break
                    if isinstance(event, Batch) and len(event.messages) > _SLICE:
                        break
                    continue
                if lane.is_inside or self._deaf:
                    break
            at_border = self._input.at_border
            data = framing.take()
            if not data:
                break
            if at_border and not self._input.is_control:
                self._assembly.begin_frame()
            for judged in framing.judge(data):
                if framing.has_foreign and isinstance(judged, wsproto.events.BytesMessage):
                    size += len(judged.data)
                event = self._translate(judged)
                if event is not None and self.ending is not Ending.LOCAL:
                    events.append(event)
            if at_border:
                self._check_header()
            if self.breach is not None:
                self._input.trace_refused()
        return events

    @property
    def _inflating(self) -> int:
        return 0 if self._deflate is None else self._deflate.work

    def _lane_is_open(self, lane: Lane) -> bool:
        """Tell whether what comes next may be taken in the lane."""
        if lane.is_inside:
            return True
        source = self._input
        return (
            self.ending is None
            and not self._assembly.is_inside
            and source.at_border
            and source.trace is None
        )

    def _take_from(self, lane: Lane) -> Event | None:
        if self.ending is not None:
            lane.drop()
            return None
        try:
            return lane.take()
        except Breach as exc:
            self._break(*exc.breach)
            return None

    def _check_header(self) -> None:
        if self._input.is_control or self.ending is not None:
            return
        try:
            self._assembly.check_header()
        except Breach as exc:
            self._break(*exc.breach)

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
        close = self._framing.received_close(judged)
        if close is None:
            self._break(*self._framing.breach(judged))
            return None
        self._deaf = True
        self.close_received = close
        if self.ending is None:
            self.ending = Ending.REMOTE
            self.cut_off = self._assembly.is_inside
            # RFC 6455 §5.5.1: the code is echoed.
            self._serialize_close(CloseFrame(close.code))
        return None

    def _data_event(self, judged: wsproto.events.BytesMessage) -> Event | None:
        if self.ending is not None or self._deaf:
            return None
        try:
            return self._assembly.add(judged)
        except Breach as exc:
            self._break(*exc.breach)
            return None
