"""The user's extensions on one connection (RFC 6455 §9), by the interface of wsproto.

wsproto defines hooks for extensions, and calls them for each frame. Here `ExtensionChain` calls
them, and adds what wsproto leaves out:

* Outgoing frames go through the extensions in their order, incoming ones backwards (RFC 6455 §9.1).
  This holds also for what an extension has held back until the end of a frame.
* An extension that raises is its author's bug, not ours: the connection fails with Close 1011.
* An extension whose hook returns a value of the wrong type is treated in the same way.

A connection without such extensions has no chain. Where there is one, compression takes its place
in it through the same hooks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Concatenate, Final, ParamSpec, Protocol, TypeAlias, TypeVar

from wsproto.frame_protocol import (
    LOCAL_ONLY_CLOSE_REASONS,
    MAX_PAYLOAD_NORMAL,
    CloseReason,
    FrameDecoder,
    FrameProtocol,
    Opcode,
    RsvBits,
)

from trio_wsclient._protocol.closing import INTERNAL_ERROR, ProtocolViolation
from trio_wsclient._protocol.deflate import AnyExtension, Deflate
from trio_wsclient._protocol.limits import SENT_HOOK_COST, WorkBudget

_P = ParamSpec("_P")
_T = TypeVar("_T")
_Result: TypeAlias = _T | CloseReason
_Proto: TypeAlias = FrameDecoder | FrameProtocol

# Hooks get an object of wsproto's, of which they may ask which side they are on. All connections
# share it, because each of these objects is a cycle of references.
_DECODER: Final = FrameDecoder(client=True)
_ENCODER: Final = FrameProtocol(client=True, extensions=[])

_NO_RSV: Final = RsvBits(False, False, False)
_RSV1: Final = RsvBits(True, False, False)


class ExtensionChain:
    """The extensions in use on a connection, of which at least one is not ours.

    Args:
        extensions: The first is the nearest to the user, the last the nearest to the wire.
        budget: The work budget of the reader.
    """

    def __init__(self, extensions: Sequence[AnyExtension], budget: WorkBudget) -> None:
        outgoing = [
            _DeflateHooks(each, budget) if isinstance(each, Deflate) else each
            for each in extensions
        ]
        self._outgoing: Sequence[_Hooks] = outgoing
        self._incoming: Sequence[_Hooks] = outgoing[::-1]
        self.send_cost: int = len(outgoing) * SENT_HOOK_COST  # of a message, in nanoseconds

    # Each method raises a ProtocolViolation if an extension fails, or refuses the frame.

    def begin_frame(self, opcode: int, rsv: int, size: int) -> int:
        """Show a header to the extensions; return the reserved bits that they use, as 0 to 7."""
        bits = RsvBits(bool(rsv & 4), bool(rsv & 2), bool(rsv & 1))
        used = 0
        for extension in self._incoming:
            result = _call(extension, _header, _DECODER, Opcode(opcode), bits, size)
            used |= result.rsv1 << 2 | result.rsv2 << 1 | result.rsv3
        return used

    def receive(self, data: bytes) -> bytes:
        """Pass a piece of a payload through the extensions."""
        for extension in self._incoming:
            data = _call(extension, _payload, _DECODER, data)
        return data

    def end_frame(self, *, fin: bool) -> bytes:
        """Return what the extensions have held back until the end of the frame."""
        data = b""
        for extension in self._incoming:
            if data:
                data = _call(extension, _payload, _DECODER, data)
            data += _call(extension, _complete, _DECODER, fin)
        return data

    @property
    def deflates_first(self) -> bool:
        """Whether our compression is the first to see a frame of ours."""
        return isinstance(self._outgoing[0], _DeflateHooks)

    def send(
        self, opcode: int, payload: bytes, *, fin: bool, is_compressed: bool | None = None
    ) -> tuple[int, bytes]:
        """Pass a frame of ours through the extensions; return its reserved bits and payload.

        Args:
            opcode: The opcode.
            payload: The payload.
            fin: Whether the frame has FIN.
            is_compressed: ``None``, unless our compression has seen the payload already, as the
                first extension; then whether the frame has RSV1.
        """
        rsv, extensions = _NO_RSV, self._outgoing
        if is_compressed is not None:
            rsv, extensions = RsvBits(is_compressed, False, False), extensions[1:]
        for extension in extensions:
            rsv, payload = _call(extension, _outbound, _ENCODER, Opcode(opcode), rsv, payload, fin)
        return rsv.rsv1 << 2 | rsv.rsv2 << 1 | rsv.rsv3, payload


class _Hooks(Protocol):
    """The hooks of wsproto's `Extension`, which are called for each frame."""

    @property
    def name(self) -> str: ...

    def frame_inbound_header(
        self, proto: _Proto, opcode: Opcode, rsv: RsvBits, payload_length: int
    ) -> CloseReason | RsvBits: ...

    def frame_inbound_payload_data(self, proto: _Proto, data: bytes) -> bytes | CloseReason: ...

    def frame_inbound_complete(self, proto: _Proto, fin: bool) -> bytes | CloseReason | None: ...

    def frame_outbound(
        self, proto: _Proto, opcode: Opcode, rsv: RsvBits, data: bytes, fin: bool
    ) -> tuple[RsvBits, bytes]: ...


class _DeflateHooks:
    """Our compression behind the hooks, for its place beside the user's extensions."""

    name = Deflate.name

    def __init__(self, deflate: Deflate, budget: WorkBudget) -> None:
        self._deflate = deflate
        self._budget = budget
        self._is_mid_message = False
        self._is_compressed = False  # whether the incoming message is
        self._is_control = False  # whether the incoming frame is a control frame

    def frame_outbound(
        self,
        proto: _Proto,  # noqa: ARG002 the hook's
        opcode: Opcode,
        rsv: RsvBits,
        data: bytes,
        fin: bool,
    ) -> tuple[RsvBits, bytes]:
        if opcode.iscontrol():
            return rsv, data
        has_rsv1, payload = self._deflate.compress(data, fin=fin)
        return (rsv._replace(rsv1=True) if has_rsv1 else rsv), payload

    def frame_inbound_header(
        self,
        proto: _Proto,  # noqa: ARG002 the hook's
        opcode: Opcode,
        rsv: RsvBits,
        payload_length: int,  # noqa: ARG002 the hook's
    ) -> RsvBits:
        self._is_control = opcode.iscontrol()
        if self._is_control or opcode is Opcode.CONTINUATION or self._is_mid_message:
            return _NO_RSV
        self._is_mid_message = True
        self._is_compressed = rsv.rsv1
        self._deflate.begin_message()
        return _RSV1

    def frame_inbound_payload_data(
        self,
        proto: _Proto,  # noqa: ARG002 the hook's
        data: bytes,
    ) -> bytes:
        if self._is_control or not self._is_compressed:
            return data
        return self._deflate.inflate_all(data, self._budget)

    def frame_inbound_complete(
        self,
        proto: _Proto,  # noqa: ARG002 the hook's
        fin: bool,
    ) -> None:
        if fin and not self._is_control:
            if self._is_compressed:
                self._deflate.end_message()
            self._is_mid_message = self._is_compressed = False


def _call(
    extension: _Hooks,
    hook: Callable[Concatenate[_Hooks, _P], _Result[_T]],
    *args: _P.args,
    **kwargs: _P.kwargs,
) -> _T:
    """Call a hook, and turn what keeps the frame from passing into a violation."""
    try:
        result = hook(extension, *args, **kwargs)
    except ProtocolViolation:
        raise  # Our compression refuses the frame.
    except Exception as exc:
        raise ProtocolViolation(exc, INTERNAL_ERROR) from exc
    if isinstance(result, CloseReason):
        # RFC 6455 §7.4.1: some codes must not be sent.
        code = INTERNAL_ERROR if result in LOCAL_ONLY_CLOSE_REASONS else result
        raise ProtocolViolation(f"the extension {extension.name} refused a frame", code)
    return result


# Each function calls one hook, and checks the type of its result.


def _header(
    extension: _Hooks, proto: FrameDecoder, opcode: Opcode, rsv: RsvBits, size: int
) -> _Result[RsvBits]:
    result = extension.frame_inbound_header(proto, opcode, rsv, size)
    return result if isinstance(result, CloseReason) else _bits(result)


def _payload(extension: _Hooks, proto: FrameDecoder, data: bytes) -> _Result[bytes]:
    result = extension.frame_inbound_payload_data(proto, data)
    return result if isinstance(result, CloseReason) else _bytes(result)


def _complete(extension: _Hooks, proto: FrameDecoder, fin: bool) -> _Result[bytes]:
    result = extension.frame_inbound_complete(proto, fin)
    if isinstance(result, CloseReason):
        return result
    return b"" if result is None else _bytes(result)


def _outbound(  # noqa: PLR0917 they are the hook's
    extension: _Hooks, proto: FrameProtocol, opcode: Opcode, rsv: RsvBits, data: bytes, fin: bool
) -> tuple[RsvBits, bytes]:
    used, result = extension.frame_outbound(proto, opcode, rsv, data, fin)
    payload = _bytes(result)
    if opcode.iscontrol() and len(payload) > MAX_PAYLOAD_NORMAL:
        raise ValueError(f"{len(payload)} bytes of a control frame (RFC 6455 §5.5)")
    return _bits(used), payload


def _bits(result: Iterable[object]) -> RsvBits:
    return RsvBits(*map(bool, result))


def _bytes(result: bytes) -> bytes:
    return bytes(memoryview(result))
