"""permessage-deflate (RFC 7692), as an extension of wsproto's kind, without I/O.

Theory of operation
-------------------

*Outgoing*, the first frame of a message decides whether it is compressed. Each frame is flushed
when it is made, so that fragments can be read as they come; the last one goes without the four
bytes that end every flush (§7.2.1).

*Incoming*, RSV1 on the first frame of a message says that it is compressed (§6). Its
payloads are for ``_inflater``.

zlib's objects are made when they are first needed, as most of the memory of an idle connection
would be theirs, and kept between messages only where the context is taken over (§7.1.1).
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias, TypeVarTuple

from wsproto.extensions import Extension
from wsproto.frame_protocol import CloseReason, FrameDecoder, FrameProtocol, Opcode, RsvBits

from trio_wsclient._headers import parse_extensions
from trio_wsclient._inflater import MAX_BITS, TAIL, Inflater, TooBigError

if TYPE_CHECKING:
    from zlib import _Compress

_NAME: Final = "permessage-deflate"
_MIN_BITS: Final = 8  # RFC 7692 §7.1.2: base-2 logarithm of the size of a window
# zlib can't compress with a window of 2**8 bytes. But with this one it never refers back by more
# than 2**9 - 262 = 250 bytes (its MIN_LOOKAHEAD), which is as good.
_LEAST_BITS_OF_ZLIB: Final = 9
_NO_RSV: Final = RsvBits(False, False, False)
_RSV1: Final = RsvBits(True, False, False)

_Ts = TypeVarTuple("_Ts")
_Proto: TypeAlias = FrameDecoder | FrameProtocol


@dataclass(frozen=True, kw_only=True, slots=True)
class PerMessageDeflate:
    """The parameters of compression (RFC 7692).

    Attributes:
        client_max_window_bits: The window that we compress with has 2 to the power of this many
            bytes: 8 to 15, the default. To compress takes four times as much memory.
        server_max_window_bits: The same for what the server sends, to save its memory and ours.
        client_no_context_takeover: Whether we compress each message by itself, which saves our
            memory between messages, and most of the compression of small ones.
        server_no_context_takeover: Whether the server is asked to.
        level: How hard zlib tries, from 0 to 9; 6 by default.
        memory_level: How much memory zlib uses to compress beside the window, from 1 to 9: 2 to the
            power of this and 9 more, in bytes. More than 5, the default, gains nothing.
        min_size: Bytes; messages that are shorter are sent as they are. 256 by default.
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


class JudgingExtension(Extension):
    """An extension that says why it refuses a frame."""

    refusal: str = ""


class Deflate(JudgingExtension):
    """permessage-deflate on one connection.

    Args:
        settings: What to offer, and how to compress.
        max_message_size: Limit on the bytes of a message once inflated, or ``None``.
    """

    name = _NAME

    def __init__(self, settings: PerMessageDeflate, *, max_message_size: int | None) -> None:
        self._settings = settings
        self._is_enabled = False
        # What the server echoes or asks for is added to these by `finalize`.
        self._client_bits = settings.client_max_window_bits
        self._client_takeover = not settings.client_no_context_takeover
        self._server_bits = MAX_BITS
        self._server_takeover = True
        self._compressor: _Compress | None = None
        self._is_compressing = False  # whether the outgoing message under way is compressed
        self._is_under_way = False  # whether there is one
        self._inflater = Inflater(max_message_size)
        self._is_incoming = False  # whether an incoming message is under way
        self._is_compressed = False  # whether it is compressed
        self._is_control = False  # whether the incoming frame under way is of control
        self.saved_sent: int = 0  # bytes that compression has made fewer; also below zero

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
        """Take the server's answer (RFC 7692 §7.1).

        Raises:
            ValueError: It is not an answer to what was offered.
        """
        (element,) = parse_extensions(offer)
        settings = self._settings
        found = set()
        for name, value in element.params:
            if name in found:
                raise ValueError(f"parameter {name} stands there twice")
            found.add(name)
            # The server may ask for each of them though it was not offered, but for
            # client_max_window_bits, which always is.
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
        self._inflater.configure(self._server_bits, takeover=self._server_takeover)
        self._is_enabled = True

    @property
    def work(self) -> int:
        """What inflating has cost so far: the bytes that came out, and some for each stream."""
        return self._inflater.work

    @property
    def saved_received(self) -> int:
        """By how many bytes what came is longer inflated."""
        return self._inflater.saved

    # Messages in a single frame, without the hooks

    def compress_message(self, data: bytes) -> bytes | None:
        """Compress a message; ``None`` if it is to be sent as it is."""
        return self._compress(data, fin=True) if len(data) >= self._settings.min_size else None

    def inflate_message(self, data: bytes) -> bytes | CloseReason:
        """Inflate a message, or return why it is refused; ``refusal`` has the text."""
        return self._judge(self._inflater.inflate_message, data)

    # Outgoing

    def frame_outbound(
        self, proto: _Proto, opcode: Opcode, rsv: RsvBits, data: bytes, fin: bool
    ) -> tuple[RsvBits, bytes]:
        if opcode.iscontrol():
            return rsv, data
        is_first = not self._is_under_way
        self._is_under_way = not fin
        if is_first:
            # How long a message becomes that is not finished yet, nobody knows.
            self._is_compressing = not fin or len(data) >= self._settings.min_size
        if not self._is_compressing:
            return rsv, data
        if is_first:
            rsv = RsvBits(True, rsv.rsv2, rsv.rsv3)
        return rsv, self._compress(data, fin=fin)

    def _compress(self, data: bytes, *, fin: bool) -> bytes:
        if self._compressor is None:
            self._compressor = zlib.compressobj(
                self._settings.level,
                zlib.DEFLATED,
                -max(self._client_bits, _LEAST_BITS_OF_ZLIB),
                self._settings.memory_level,
            )
        compressor = self._compressor
        compressed = compressor.compress(data) + compressor.flush(zlib.Z_SYNC_FLUSH)
        if fin:
            compressed = compressed.removesuffix(TAIL)
            if not self._client_takeover:
                self._compressor = None
        self.saved_sent += len(data) - len(compressed)
        return compressed

    # Incoming

    def frame_inbound_header(
        self, proto: _Proto, opcode: Opcode, rsv: RsvBits, payload_length: int
    ) -> CloseReason | RsvBits:
        self._is_control = opcode.iscontrol()
        if self._is_control or opcode is Opcode.CONTINUATION:
            return _NO_RSV
        # RFC 6455 §5.4: what begins inside another message is for wsproto to refuse.
        self._is_compressed = rsv.rsv1 and not self._is_incoming
        self._is_incoming = True
        self._inflater.begin()
        return _RSV1

    def frame_inbound_payload_data(self, proto: _Proto, data: bytes) -> bytes | CloseReason:
        if self._is_control or not self._is_compressed:
            return data
        return self._judge(self._inflater.inflate, data)

    def frame_inbound_complete(self, proto: _Proto, fin: bool) -> bytes | CloseReason | None:
        if not fin or self._is_control:
            return None
        was_compressed = self._is_compressed
        self._is_incoming = self._is_compressed = False
        return self._judge(self._inflater.finish) if was_compressed else None

    def _judge(self, inflate: Callable[[*_Ts], bytes], *args: *_Ts) -> bytes | CloseReason:
        try:
            return inflate(*args)
        except TooBigError as exc:
            self.refusal = str(exc)
            return CloseReason.MESSAGE_TOO_BIG
        except zlib.error as exc:
            # zlib's texts are of the form "Error -3 while decompressing data: ...".
            self.refusal = f"not deflate data: {str(exc).rpartition(': ')[2]}"
            return CloseReason.INVALID_FRAME_PAYLOAD_DATA


def _parse_flag(name: str, value: str | None) -> bool:
    if value is not None:
        raise ValueError(f"parameter {name} has no value, but was given {value!r}")
    return False


def _parse_bits(name: str, value: str | None, most: int) -> int:
    # RFC 7692 §7.1.2: a decimal integer without leading zeros.
    if value not in {str(bits) for bits in range(_MIN_BITS, most + 1)}:
        shown = "nothing" if value is None else repr(value)
        raise ValueError(f"parameter {name} has to be {_MIN_BITS} to {most}, not {shown}")
    return int(value)
