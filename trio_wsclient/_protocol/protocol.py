"""The protocol of one open connection, from the client's side (RFC 6455 §5 to §7), without I/O.

Theory of operation
-------------------

The connection talks to `Protocol`. A task that has read bytes hands them over, and asks for
the events in them. A task that wants to send asks for the bytes of a frame, and writes them.

`reader` reads. `closing` has the record of how the connection ends, and a table of what is read and
sent in each state. The methods here keep to that table.

*Output* has one rule of its own: the caller writes bytes in the order in which they were made. So a
Close frame is made at the moment at which it is decided. From then on nothing else can be made, and
the Close waits in `take_close` until the stream is free.

If an extension fails to make a frame, the connection has failed. All that is left to send is the
Close that says so. It goes through the extensions, too; if one fails again, it bypasses them.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Sequence
from functools import partial
from typing import Final

from trio_wsclient._protocol import frames, header
from trio_wsclient._protocol.closing import (
    ClosedBy,
    CloseFrame,
    Closing,
    ProtocolViolation,
    close_for,
    close_payload,
)
from trio_wsclient._protocol.deflate import AnyExtension, OutgoingState
from trio_wsclient._protocol.events import Opcode
from trio_wsclient._protocol.limits import (
    FLUSH_COST,
    NO_LIMITS,
    REPORT_COST,
    SENT_BYTE_COST,
    SENT_MESSAGE_COST,
    SLICE_COST,
    Limits,
    WorkBudget,
)
from trio_wsclient._protocol.listener import LISTENED_SIZE, FrameListener
from trio_wsclient._protocol.reader import FrameReader


class Protocol:
    """The protocol of one connection.

    Args:
        limits: The limits on what is received.
        decode_text: Whether Text is checked and decoded; otherwise it is handed over as bytes.
        extensions: The extensions in use, in their order.
        listener: The object to call for each frame.

    Attributes:
        closing: How the connection ends.
        drop_data: Hand over nothing any more but the server's Close.
        receive_data: Take bytes from the server; `next_events` says what they mean.
        next_events: Return the events in the next frames, as many as one slice of work has. The
            server's Close is the last event: call `receive_close` with it, after the pings before
            it are answered. A violation is no event: it is in ``violation``, and takes effect when
            the caller says so, by `fail_by_violation`.
        read_single: Take bytes from the server only if they are a whole message, and return it.
    """

    def __init__(
        self,
        *,
        limits: Limits = NO_LIMITS,
        decode_text: bool = True,
        extensions: Sequence[AnyExtension] = (),
        listener: FrameListener | None = None,
    ) -> None:
        self._budget = WorkBudget()
        self._reader = FrameReader(
            limits.normalized(),
            self._budget,
            decode_text=decode_text,
            extensions=extensions,
            listener=listener,
        )
        # Shared with the reader, because both directions use them.
        self._deflate = self._reader.deflate
        self._chain = self._reader.chain
        self._listener = listener
        self._close_data = b""  # our Close frame, until it is taken
        # Whether the listener wanted frames when it was last asked.
        self._reports_frames = listener is not None and listener.wants_frames()
        self._ignores_output = False  # whether an extension has failed to make a frame
        self.closing: Final = Closing()
        # The reader's own methods: each read of the connection calls two of them.
        self.drop_data: Final = self._reader.drop_data
        self.receive_data: Final = self._reader.feed
        self.next_events: Final = self._reader.read
        self.read_single: Final = self._reader.read_single

    # Input

    @property
    def has_input(self) -> bool:
        """Whether `next_events` has something to read without more bytes."""
        return not self._reader.is_starved

    @property
    def is_starved(self) -> bool:
        """Whether nothing can be done without more bytes."""
        return self._reader.is_starved and self.violation is None

    @property
    def violation(self) -> ProtocolViolation | None:
        """What the server has done wrong, until `fail_by_violation`."""
        return self._reader.violation if self.closing.closed_by is None else None

    @property
    def partial_size(self) -> int:
        """How many bytes of a data frame have come that is not complete yet."""
        return self._reader.partial_size

    # Closing

    def begin_close(self) -> None:
        """Decide to close, unless that was decided before; `close` makes the Close frame."""
        if self.closing.closed_by is None:
            self.closing.closed_by = ClosedBy.CLIENT

    def close(self, code: int, reason: str = "") -> None:
        """Decide to close, and make a Close frame; without effect if there is one already."""
        closing = self.closing
        self.begin_close()
        if closing.closed_by is ClosedBy.CLIENT and closing.sent is None:
            self.drop_data()
            self._make_close(CloseFrame(code, reason))

    def receive_close(self, frame: CloseFrame) -> None:
        """Take note of the server's Close, and answer it unless ours was made before."""
        closing = self.closing
        closing.received = frame
        if closing.closed_by is None:
            closing.closed_by = ClosedBy.SERVER
            # The message under way will never be complete, so even Close 1000 is an error then.
            closing.closed_mid_message = self._reader.is_mid_message
            self._make_close(CloseFrame(frame.code))  # RFC 6455 §5.5.1: the code is echoed.

    def fail(self, cause: BaseException, code: int | None = None) -> None:
        """Fail the connection (RFC 6455 §7.1.7), with a Close frame if there is a code for it.

        If it was closed before, this only ends the reading.
        """
        closing = self.closing
        self._reader.stop()
        if closing.closed_by is None:
            closing.closed_by = ClosedBy.ERROR
            closing.cause = cause
            if code is not None:
                self._make_close(close_for(cause, code))

    def fail_by_violation(self) -> None:
        """Fail the connection for the violation that was read."""
        violation = self._reader.violation
        assert violation is not None
        self.fail(violation.cause, violation.code)

    def close_stream(self) -> None:
        """Take note that the stream is closed."""
        self._reader.stop()
        # Break a cycle: the traceback of the violation refers to frames, and they to the reader.
        self._reader.violation = None
        self.closing.stream_closed = True

    @property
    def has_close(self) -> bool:
        """Whether our Close frame is still to be written."""
        return bool(self._close_data)

    def take_close(self) -> bytes:
        """Return our Close frame if it is still to be written, else nothing."""
        data, self._close_data = self._close_data, b""
        return data

    def _make_close(self, frame: CloseFrame) -> None:
        closing = self.closing
        rsv, payload = 0, close_payload(frame)
        if self._chain is not None:
            # Extensions may change control frames too (RFC 6455 §5.8), and they may fail.
            try:
                rsv, payload = self._chain.send(header.CLOSE, payload, fin=True)
            except ProtocolViolation as exc:
                # If the server closed, or an error did, that stays: only the bytes change.
                if closing.closed_by is ClosedBy.CLIENT:
                    closing.closed_by = ClosedBy.ERROR
                    closing.cause = exc.cause
                    self._reader.stop()
                    frame = close_for(exc.cause, exc.code)
                rsv, payload = 0, close_payload(frame)
        first_byte = header.FIN | rsv << 4 | header.CLOSE
        self._close_data = self._build(first_byte, payload, reports=self._begin_output())
        # From here on `_begin_output` refuses every frame: nothing follows a Close (RFC 6455
        # §5.5.1).
        closing.sent = frame

    # Output, only while open. If an extension fails, the connection has failed, and what is
    # returned must not be written.

    def send_data(self, opcode: Opcode, payload: bytes, *, fin: bool = True) -> bytes:
        """Make a data frame; the payload of Text is UTF-8 that may be cut anywhere."""
        return self._make_data(opcode, payload, fin=fin, reports=self._begin_output())

    def send_batch(self, batch: Iterable[tuple[Opcode, bytes, bool]]) -> bytes:
        """Make data frames, each of an opcode, a payload and FIN."""
        reports = self._begin_output()
        make = self._make_data
        return b"".join(
            [make(opcode, data, fin=fin, reports=reports) for opcode, data, fin in batch]
        )

    def _make_data(self, opcode: Opcode, payload: bytes, *, fin: bool, reports: bool) -> bytes:
        if self._chain is not None:
            return self._make_through_chain(opcode, payload, fin=fin, reports=reports)
        first_byte = header.FIN | opcode if fin else int(opcode)
        ready: bytes | bytearray = payload
        # The usual case has no extension but ours, which is called directly.
        if self._deflate is not None:
            has_rsv1, ready = self._deflate.compress(payload, fin=fin)
            if has_rsv1:
                first_byte |= header.RSV1
        if reports:
            self._report(first_byte, ready)
        return frames.build(first_byte, ready)

    def prepare_data(
        self, opcode: Opcode, payload: bytes, *, fin: bool
    ) -> Generator[None, None, Callable[[], Iterable[bytes | bytearray]]]:
        """Prepare a data frame of any size in steps, between which other tasks can run.

        Compressing changes what later frames depend on. If you drop the frame before you call the
        result, call `restore_output` with what `save_output` returned before.

        Returns:
            A function that makes the frame, as pieces that are masked one by one. It calls the
            hooks of others' extensions, because what they do can't be undone.
        """
        is_compressed: bool | None = None
        ready: bytes | bytearray = payload
        if self._deflate is not None and (self._chain is None or self._chain.deflates_first):
            # Each step compresses a piece. The caller lets other tasks run between two steps.
            is_compressed, ready = yield from self._deflate.compress_in_steps(payload, fin=fin)
        return partial(self._make_in_pieces, opcode, ready, fin=fin, is_compressed=is_compressed)

    def _make_in_pieces(
        self, opcode: Opcode, payload: bytes | bytearray, *, fin: bool, is_compressed: bool | None
    ) -> Iterable[bytes | bytearray]:
        reports = self._begin_output()
        first_byte = header.FIN | opcode if fin else int(opcode)
        if self._chain is not None:
            data = bytes(payload)
            result = self._pass_chain(opcode, data, fin=fin, is_compressed=is_compressed)
            if result is None:
                return [b""]
            first_byte, payload = result
        elif is_compressed:
            first_byte |= header.RSV1
        if reports:
            self._report(first_byte, payload)
        return frames.build_in_pieces(first_byte, payload)

    @property
    def max_step_size(self) -> int:
        """How many bytes of payload `send_data` takes without holding other tasks for long."""
        return frames.PIECE_SIZE - 1 if self._deflate is None else self._deflate.step_size

    def send_cost(self, size: int) -> int:
        """Return the work of making a message of that many bytes, in nanoseconds."""
        cost = SENT_MESSAGE_COST + size * SENT_BYTE_COST
        if self._deflate is not None:
            # A step of compression is the work of at most two slices.
            cost += FLUSH_COST + size * 2 * SLICE_COST // self._deflate.step_size
        if self._chain is not None:
            cost += self._chain.send_cost
        if self._reports_frames:
            cost += REPORT_COST
        return cost

    def save_output(self) -> OutgoingState | None:
        """Return a copy of what compressing the next frame will change."""
        return None if self._deflate is None else self._deflate.save()

    def restore_output(self, state: OutgoingState | None) -> None:
        """Put back what `save_output` has returned: nothing that was made since is sent."""
        if self._deflate is not None and state is not None:
            self._deflate.restore(state)

    @property
    def saved(self) -> tuple[int, int]:
        """How many bytes compression has saved, of what was sent, and of what was received."""
        deflate = self._deflate
        return (0, 0) if deflate is None else (deflate.saved_sent, deflate.saved_received)

    def send_ping(self, payload: bytes) -> bytes:
        return self._send_control(header.PING, payload)

    def send_pong(self, payload: bytes) -> bytes:
        return self._send_control(header.PONG, payload)

    def _send_control(self, opcode: int, payload: bytes) -> bytes:
        reports = self._begin_output()
        if self._chain is not None:
            return self._make_through_chain(opcode, payload, fin=True, reports=reports)
        return self._build(header.FIN | opcode, payload, reports=reports)

    def _make_through_chain(
        self, opcode: int, payload: bytes, *, fin: bool, reports: bool
    ) -> bytes:
        result = self._pass_chain(opcode, payload, fin=fin)
        return b"" if result is None else self._build(*result, reports=reports)

    def _pass_chain(
        self, opcode: int, payload: bytes, *, fin: bool, is_compressed: bool | None = None
    ) -> tuple[int, bytes] | None:
        """Return a frame's first byte and payload after the extensions, or ``None`` if one failed.

        ``is_compressed`` has the RSV1 of a payload that compression has seen already.
        """
        assert self._chain is not None
        if self._ignores_output:
            return None
        try:
            rsv, payload = self._chain.send(opcode, payload, fin=fin, is_compressed=is_compressed)
        except ProtocolViolation as exc:
            self._ignores_output = True
            self.fail(exc.cause, exc.code)
            return None
        return (header.FIN if fin else 0) | rsv << 4 | opcode, payload

    def _build(self, first_byte: int, payload: bytes | bytearray, *, reports: bool) -> bytes:
        if reports:
            self._report(first_byte, payload)
        return frames.build(first_byte, payload)

    def _begin_output(self) -> bool:
        """Check that frames may still be sent; return whether the listener wants them."""
        if self.closing.sent is not None and not self._ignores_output:
            raise RuntimeError("nothing can be sent after a Close")  # RFC 6455 §5.5.1
        self._reports_frames = self._listener is not None and self._listener.wants_frames()
        return self._reports_frames

    def _report(self, first_byte: int, payload: bytes | bytearray) -> None:
        assert self._listener is not None
        shown = payload if self._listener.wants_payloads else payload[:LISTENED_SIZE]
        self._listener.frame_sent(first_byte, len(payload), bytes(shown))
