"""permessage-deflate: the compression of messages (RFC 7692), without I/O.

Theory of operation
-------------------

Either all frames of a message are compressed or none; RSV1 on the first one says which (§6). Their
payloads are one piece of a deflate stream. Each flush of the compressor ends that stream with
the four bytes of an empty block. The sender takes these off at the end of a message, and the
receiver puts them back (§7.2.1, §7.2.2). The stream goes on from message to message, so that a
message can refer back to earlier ones, unless "no context takeover" was agreed on (§7.1.1).

*Outgoing*: each frame is flushed when it is made, so that the server can read a fragment at once.
A long payload is compressed in steps, between which other tasks run. If the frame is given up
meanwhile, the compressor is put back to a copy taken before the first step.

*Incoming*: payloads are inflated as they arrive, and zlib is never asked for more than the message
may still have: a bomb costs no more than the largest message that is legal. A piece of input can
ask for much work though it yields little, as each empty block and each empty stream costs time. So
`Deflate.inflate` stops when the work budget of the reader is spent, and says how far it has come.

zlib's objects take most of the memory of an idle connection. They are made when they are first
needed, and are kept between messages only where the context is taken over.
"""

from __future__ import annotations

import zlib
from collections.abc import Generator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias

from trio_wsclient._headers import parse_extensions
from trio_wsclient._protocol.closing import (
    INVALID_PAYLOAD,
    ProtocolViolation,
    RemoteProtocolError,
)
from trio_wsclient._protocol.limits import (
    DEFLATED_BYTE_COST,
    INFLATE_COST,
    INFLATED_BYTE_COST,
    STREAM_COST,
    Limits,
    WorkBudget,
    too_big,
)

if TYPE_CHECKING:
    from zlib import _Compress, _Decompress

    from wsproto.extensions import Extension

NAME: Final = "permessage-deflate"
MAX_BITS: Final = 15  # RFC 7692 §7.1.2: base-2 logarithm of the size of a window
# Bytes to compress in one step, by level. With each level from 6 to 9 zlib looks for a match two to
# four times as long. So a text of two letters, the worst one, takes 1 to 2 ms a step at each.
_STEP_SIZE: Final = 16_384
_STEP_SIZES: Final = {7: 4096, 8: 1024, 9: 256}

_MIN_BITS: Final = 8
# zlib can't compress with a window of 2**8 bytes. But with this one it never refers back by more
# than 2**9 - 262 = 250 bytes (its MIN_LOOKAHEAD), which is as good.
_LEAST_BITS_OF_ZLIB: Final = 9

_TAIL: Final = b"\x00\x00\xff\xff"  # RFC 7692 §7.2.1: it ends a flush, and is not sent
# Inside a block zlib takes the four bytes for a part of something else, and doesn't say so. So they
# are fed with empty stored blocks (RFC 1951 §3.2.4) after them. At the end of a block these do
# nothing, in 30 ns. Inside a block something comes out of them, or they are an error: they are
# longer than the longest header of a block. (To ask a copy of the stream would take 1 µs and more.)
_PROBE: Final = b"\x00\x00\x00\xff\xff" * 64
_TAIL_AND_PROBE: Final = _TAIL + _PROBE
_CUT_OFF: Final = "the message ends inside a block"
_MAX_PIECE: Final = 512  # bytes that `inflate_all` inflates at a time
_MAX_OUTPUT: Final = 262_144  # bytes out of one call of zlib: 0.7 ms

# What `Deflate.save` returns: a compressor and three facts.
OutgoingState: TypeAlias = "tuple[_Compress | None, bool, bool, int]"

# An extension on a connection: compression, or an object of the user's. wsproto is only imported
# for the latter, because that takes half as long as the import of this library.
AnyExtension: TypeAlias = "Deflate | Extension"


@dataclass(frozen=True, kw_only=True, slots=True)
class PerMessageDeflate:
    """The parameters of compression (RFC 7692).

    Attributes:
        client_max_window_bits: The window that the client compresses with has 2 to the power of
            this many bytes: 8 to 15; 15 by default. Compressing takes four times as much memory.
        server_max_window_bits: The same for what the server sends. A smaller window saves memory
            on both sides.
        client_no_context_takeover: Whether the client compresses each message by itself. That
            saves memory between messages, and costs most of the compression of small ones.
        server_no_context_takeover: Whether the server is asked to do the same.
        level: How hard zlib tries, from 0 to 9; 6 by default.
        memory_level: How much memory zlib uses to compress beside the window, from 1 to 9: 2 to the
            power of this and 9 more, in bytes. More than 5, the default, gains nothing.
        min_size: Bytes; a shorter message is sent as it is. 256 by default.
    """

    client_max_window_bits: int = MAX_BITS
    server_max_window_bits: int = MAX_BITS
    client_no_context_takeover: bool = False
    server_no_context_takeover: bool = False
    level: int = 6
    memory_level: int = 5
    min_size: int = 256

    def __post_init__(self) -> None:
        for name, least, most in (
            ("client_max_window_bits", _MIN_BITS, MAX_BITS),
            ("server_max_window_bits", _MIN_BITS, MAX_BITS),
            ("level", 0, 9),
            ("memory_level", 1, 9),
            ("min_size", 0, None),
        ):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool):
                raise TypeError(f"{name} is an int, not {type(value).__name__}")
            if value < least or (most is not None and value > most):
                bounds = f"at least {least}" if most is None else f"from {least} to {most}"
                raise ValueError(f"{name} has to be {bounds}, not {value}")
        for name in ("client_no_context_takeover", "server_no_context_takeover"):
            if not isinstance(getattr(self, name), bool):
                raise TypeError(f"{name} is a bool, not {type(getattr(self, name)).__name__}")


class Deflate:
    """permessage-deflate on one connection.

    It is negotiated like an `Extension` of wsproto. It has none of the hooks: the reader and the
    protocol call the methods below "Outgoing" and "Incoming" directly.

    Args:
        settings: What to offer, and how to compress.
        limits: The limit on a message holds for what comes out of it.
    """

    name = NAME

    def __init__(self, settings: PerMessageDeflate, limits: Limits) -> None:
        self._settings = settings
        self._is_enabled = False
        # `finalize` adds what the server echoes or asks for.
        self._client_bits = settings.client_max_window_bits
        self._client_takeover = not settings.client_no_context_takeover
        self._server_bits = MAX_BITS
        self._server_takeover = True

        # Outgoing
        self._compressor: _Compress | None = None
        self._is_mid_message = False  # whether an outgoing message is unfinished
        self._is_compressing = False  # whether that message is compressed
        self.step_size: Final = _STEP_SIZES.get(settings.level, _STEP_SIZE)
        self.saved_sent: int = 0  # bytes that compression has saved; also below zero

        # Incoming
        self._limit = limits.normalized().max_message_size
        self._decompressor: _Decompress | None = None
        self._inflated_size = 0  # bytes that have come out of the message
        self._has_input = False  # whether the message has had any byte
        self.saved_received: int = 0  # bytes that came out, less those that went in

    # Negotiation

    def enabled(self) -> bool:
        return self._is_enabled

    def offer(self) -> str:
        """Return the parameters to offer (RFC 7692 §7.1)."""
        settings = self._settings
        offered = []
        if settings.server_no_context_takeover:
            offered.append("server_no_context_takeover")
        if settings.client_no_context_takeover:
            offered.append("client_no_context_takeover")
        if settings.server_max_window_bits != MAX_BITS:
            offered.append(f"server_max_window_bits={settings.server_max_window_bits}")
        bits = settings.client_max_window_bits
        # Without a value it only says that the server may choose one.
        offered.append("client_max_window_bits" + (f"={bits}" if bits != MAX_BITS else ""))
        return "; ".join(offered)

    def finalize(self, offer: str) -> None:
        """Take the server's response (RFC 7692 §7.1).

        Raises:
            ValueError: The response does not fit the offer.
        """
        (element,) = parse_extensions(offer)
        settings = self._settings
        found = set()
        for name, value in element.params:
            if name in found:
                raise ValueError(f"parameter {name} is given twice")
            found.add(name)
            # The server may send each parameter without an offer, except client_max_window_bits,
            # which the client always offers.
            match name:
                case "server_no_context_takeover":
                    self._server_takeover = _parse_flag(name, value)
                case "client_no_context_takeover":
                    self._client_takeover = _parse_flag(name, value)
                case "server_max_window_bits":
                    self._server_bits = _parse_bits(name, value, settings.server_max_window_bits)
                case "client_max_window_bits":
                    self._client_bits = _parse_bits(name, value, settings.client_max_window_bits)
                case _:
                    raise ValueError(f"unknown parameter {name!r}")
        self._is_enabled = True

    # Outgoing

    def compress(self, payload: bytes, *, fin: bool) -> tuple[bool, bytes]:
        """Compress a frame's payload in one go; see `compress_in_steps`."""
        has_rsv1, compressor = self._begin_frame(len(payload), fin=fin)
        if compressor is None:
            return False, payload
        compressed = compressor.compress(payload) + compressor.flush(zlib.Z_SYNC_FLUSH)
        self._end_frame(len(payload), len(compressed), fin=fin)
        return has_rsv1, compressed[: -len(_TAIL)] if fin else compressed

    def compress_in_steps(
        self, payload: bytes, *, fin: bool
    ) -> Generator[None, None, tuple[bool, bytes | bytearray]]:
        """Compress a frame's payload if its message is to be compressed.

        The generator yields after each step, so that other tasks can run. All later frames depend
        on this one from the first step on: if it is given up, `restore` what was saved before.

        Returns:
            Whether the frame has RSV1, and the payload to send.
        """
        has_rsv1, compressor = self._begin_frame(len(payload), fin=fin)
        if compressor is None:
            return False, payload
        view, step_size = memoryview(payload), self.step_size
        # It grows in place: joining pieces at the end would be one more long step.
        compressed = bytearray(compressor.compress(view[:step_size]))
        for start in range(step_size, len(payload), step_size):
            yield
            compressed += compressor.compress(view[start : start + step_size])
        compressed += compressor.flush(zlib.Z_SYNC_FLUSH)
        self._end_frame(len(payload), len(compressed), fin=fin)
        if fin:
            del compressed[-len(_TAIL) :]
        return has_rsv1, compressed

    def _begin_frame(self, size: int, *, fin: bool) -> tuple[bool, _Compress | None]:
        """Return whether a frame has RSV1, and the compressor if its message is compressed."""
        is_first = not self._is_mid_message
        self._is_mid_message = not fin
        if is_first:
            # The length of a message that is not finished yet is unknown.
            self._is_compressing = not fin or size >= self._settings.min_size
        if not self._is_compressing:
            return False, None
        if self._compressor is None:
            self._compressor = zlib.compressobj(
                self._settings.level,
                zlib.DEFLATED,
                -max(self._client_bits, _LEAST_BITS_OF_ZLIB),
                self._settings.memory_level,
            )
        return is_first, self._compressor

    def _end_frame(self, size: int, compressed_size: int, *, fin: bool) -> None:
        if fin:
            compressed_size -= len(_TAIL)
            if not self._client_takeover:
                self._compressor = None
        self.saved_sent += size - compressed_size

    def save(self) -> OutgoingState:
        """Return a copy of all that compressing changes."""
        compressor = None if self._compressor is None else self._compressor.copy()
        return compressor, self._is_mid_message, self._is_compressing, self.saved_sent

    def restore(self, state: OutgoingState) -> None:
        """Put back what `save` has returned: what was compressed since is not sent."""
        self._compressor, self._is_mid_message, self._is_compressing, self.saved_sent = state

    # Incoming

    def begin_message(self) -> None:
        """Prepare for the payload of a compressed message."""
        self._inflated_size = 0
        self._has_input = False

    def inflate(self, data: bytes | memoryview, budget: WorkBudget) -> tuple[bytes, int]:
        """Inflate a piece of a payload, until the budget is spent.

        Returns:
            The bytes that come out, and how many bytes of the piece were taken: at least one.

        Raises:
            ProtocolViolation: The bytes are not deflate data, or the message is too big.
        """
        budget.left -= INFLATE_COST
        if not data:
            return b"", 0
        limit, size = self._limit, self._inflated_size
        made, left = b"", data
        while True:
            decompressor = self._decompressor
            if decompressor is None:
                decompressor = self._decompressor = zlib.decompressobj(-self._server_bits)
                budget.left -= STREAM_COST
            # One byte more than the limit, so that the excess can be seen.
            most = _MAX_OUTPUT if limit is None else min(_MAX_OUTPUT, limit - size + 1)
            try:
                piece = decompressor.decompress(left, most)
            except zlib.error as exc:
                raise _not_deflate_data(exc) from exc
            made = made + piece if made else piece
            size += len(piece)
            if limit is not None and size > limit:
                raise too_big(f"a message over max_message_size ({limit}) once inflated")
            budget.left -= len(piece) * INFLATED_BYTE_COST
            if decompressor.eof:  # RFC 7692 §7.2.3.4: a block with BFINAL ends the stream
                left = decompressor.unused_data
                self._decompressor = None
                if not left:
                    break
            elif len(piece) < most:  # zlib had room for more, so it has taken all.
                left = b""
                break
            else:  # More may come, also if all input is taken.
                left = decompressor.unconsumed_tail
            if left and budget.left <= 0:
                break
        taken = len(data) - len(left)
        budget.left -= taken * DEFLATED_BYTE_COST
        self.saved_received += size - self._inflated_size - taken
        self._inflated_size = size
        self._has_input = True
        return made, taken

    def end_message(self) -> None:
        """Put the four bytes back that end a message, and check that a deflate block ends there.

        Raises:
            ProtocolViolation: The message ends inside a block: it was cut off.
        """
        decompressor = self._decompressor
        # After a block with BFINAL, or without any byte, there is no block to end.
        if decompressor is not None and self._has_input:
            try:
                made = decompressor.decompress(_TAIL_AND_PROBE, 1)
            except zlib.error as exc:
                raise _not_deflate_data(zlib.error(_CUT_OFF)) from exc
            if decompressor.eof:  # A last block may have ended, with just the four bytes.
                self._decompressor = None
                made += decompressor.unused_data.removeprefix(_PROBE)
            if made:
                raise _not_deflate_data(zlib.error(_CUT_OFF))
        if not self._server_takeover:
            self._decompressor = None

    def inflate_all(self, data: bytes, budget: WorkBudget) -> bytes:
        """Inflate a piece of a payload, however much of the budget that takes."""
        if len(data) > _MAX_PIECE:
            # Each stream that ends copies what is left of the piece.
            starts = range(0, len(data), _MAX_PIECE)
            return b"".join(self.inflate_all(data[at : at + _MAX_PIECE], budget) for at in starts)
        made, taken = self.inflate(data, budget)
        while taken < len(data):
            data = data[taken:]
            more, taken = self.inflate(data, budget)
            made += more
        return made


def _not_deflate_data(exc: zlib.error) -> ProtocolViolation:
    # zlib's texts are of the form "Error -3 while decompressing data: ...".
    problem = RemoteProtocolError(f"not deflate data: {str(exc).rpartition(': ')[2]}")
    problem.__cause__ = exc
    return ProtocolViolation(problem, INVALID_PAYLOAD)


def _parse_flag(name: str, value: str | None) -> bool:
    if value is not None:
        raise ValueError(f"parameter {name} takes no value, but has {value!r}")
    return False


def _parse_bits(name: str, value: str | None, most: int) -> int:
    # RFC 7692 §7.1.2: a decimal integer without leading zeros.
    if value not in {str(bits) for bits in range(_MIN_BITS, most + 1)}:
        problem = "but has no value" if value is None else f"not {value!r}"
        raise ValueError(f"parameter {name} has to be {_MIN_BITS} to {most}, {problem}")
    return int(value)
