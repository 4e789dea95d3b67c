"""Extensions of a user's own (RFC 6455 §9), right and wrong ones."""

from __future__ import annotations

import wire
from protocol_tables import make_protocol, sent
from wsproto.extensions import Extension
from wsproto.frame_protocol import CloseReason, Opcode, RsvBits

from trio_wsclient._protocol.closing import ClosedBy
from trio_wsclient._protocol.protocol import Protocol

NO_BITS = RsvBits(False, False, False)


class Named(Extension):
    """An extension that changes nothing, with a name, an offer, and a memory of the answer."""

    def __init__(self, name: str, offer: object = True, *, enabled: bool = False) -> None:
        self.name = name
        self.answer: str | None = None
        self._offer = offer
        self._is_enabled = enabled

    def enabled(self) -> bool:
        return self._is_enabled

    def offer(self) -> object:
        return self._offer

    def finalize(self, offer: str) -> None:
        self.answer = offer


class Unoffered(Named):
    """An extension that works without negotiation."""

    def __init__(self, name: str = "x-unoffered") -> None:
        super().__init__(name, offer=False, enabled=True)


class Picky(Named):
    """An extension that takes no answer."""

    def __init__(self, name: str, error: Exception) -> None:
        super().__init__(name)
        self.error = error

    def finalize(self, offer: str) -> None:
        raise self.error


class Suffix(Unoffered):
    """Appends a suffix to each payload of data, and takes it off again where a frame ends."""

    def __init__(self, suffix: bytes) -> None:
        super().__init__(f"x-suffix-{suffix.decode()}")
        self._suffix = suffix
        self._held = b""
        self._is_control = False

    def frame_inbound_header(self, proto, opcode, rsv, payload_length):
        self._is_control = opcode.iscontrol()
        return NO_BITS

    def frame_inbound_payload_data(self, proto, data):
        if self._is_control:
            return data
        self._held += data
        return b""

    def frame_inbound_complete(self, proto, fin):
        if self._is_control:
            return None
        data, self._held = self._held, b""
        if not data.endswith(self._suffix):
            return CloseReason.PROTOCOL_ERROR
        return data.removesuffix(self._suffix)

    def frame_outbound(self, proto, opcode, rsv, data, fin):
        return rsv, data if opcode.iscontrol() else data + self._suffix


class Reserved(Unoffered):
    """Sets a reserved bit on what is sent, and claims it on what is received."""

    def __init__(self, bit: int) -> None:
        super().__init__(f"x-rsv{bit + 1}")
        self._bits = RsvBits(*(index == bit for index in range(3)))

    def frame_inbound_header(self, proto, opcode, rsv, payload_length):
        return self._bits

    def frame_outbound(self, proto, opcode, rsv, data, fin):
        return RsvBits(*(a or b for a, b in zip(rsv, self._bits, strict=True))), data


class Backwards(Unoffered):
    """Turns each payload round, also of control frames."""

    def frame_inbound_payload_data(self, proto, data):
        return data[::-1]

    def frame_outbound(self, proto, opcode, rsv, data, fin):
        return rsv, data[::-1]


class Watching(Unoffered):
    """Changes nothing, and notes down what its hooks are called with."""

    def __init__(self, name: str = "x-watching") -> None:
        super().__init__(name)
        self.calls: list[tuple[object, ...]] = []

    def frame_inbound_header(self, proto, opcode, rsv, payload_length):
        self.calls.append(("header", opcode, tuple(rsv), payload_length))
        return NO_BITS

    def frame_inbound_payload_data(self, proto, data):
        self.calls.append(("payload", data))
        return data

    def frame_inbound_complete(self, proto, fin):
        self.calls.append(("complete", fin))

    def frame_outbound(self, proto, opcode, rsv, data, fin):
        self.calls.append(("outbound", opcode, tuple(rsv), data, fin))
        return rsv, data


class Faulty(Unoffered):
    """Does what it should not in one hook, for frames of one opcode.

    Args:
        hook: Which.
        opcode: Of which frames, or `None` for all.
        fault: What the hook raises, if it is an exception, or returns.
        after: How many such calls go well before.
    """

    def __init__(self, hook: str, opcode: Opcode | None, fault: object, *, after: int = 0) -> None:
        super().__init__("x-faulty")
        self._hook = hook
        self._opcode = opcode
        self._fault = fault
        self._left = after
        self._inbound: Opcode | None = None

    def _do(self, hook: str, opcode: Opcode | None, result: object) -> object:
        if hook != self._hook or self._opcode not in {None, opcode}:
            return result
        self._left -= 1
        if self._left >= 0:
            return result
        if isinstance(self._fault, Exception):
            raise self._fault
        return self._fault

    def frame_inbound_header(self, proto, opcode, rsv, payload_length):
        self._inbound = opcode
        return self._do("header", opcode, NO_BITS)

    def frame_inbound_payload_data(self, proto, data):
        return self._do("payload", self._inbound, data)

    def frame_inbound_complete(self, proto, fin):
        return self._do("complete", self._inbound, None)

    def frame_outbound(self, proto, opcode, rsv, data, fin):
        return self._do("outbound", opcode, (rsv, data))


def protocol_with(*extensions: Extension, **limits: int) -> Protocol:
    return make_protocol(extensions=extensions, **limits)


def payload_of(data: bytes) -> bytes:
    (frame,) = wire.ClientFrameReader().feed(data)
    return frame.payload


def failed(protocol: Protocol) -> tuple[int, str]:
    """Return code and reason of the Close for a failure."""
    assert protocol.closing.closed_by is ClosedBy.ERROR
    (close,) = sent(protocol)
    assert close.code is not None
    return close.code, close.payload[2:].decode()
