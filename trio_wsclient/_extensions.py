"""Extensions (RFC 6455 §9): which of them are in use, and the row of them as wsproto sees it.

wsproto has an interface for extensions, and calls their hooks for each frame. A ``Chain`` stands
between the two, for what wsproto leaves to its user:

* Outgoing frames go through the extensions in their order, incoming ones backwards (RFC 6455 §9.1),
  also with what an extension has held back until the end of a frame.
* The hooks are shown the opcode on the wire. (``_protocol`` passes Text through wsproto as Binary.)
* An extension that raises is its author's bug, not ours: it fails the connection, with 1011.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Sequence
from typing import Concatenate, Final, ParamSpec, TypeAlias, TypeVar

from wsproto.extensions import Extension
from wsproto.frame_protocol import (
    LOCAL_ONLY_CLOSE_REASONS,
    MAX_PAYLOAD_NORMAL,
    CloseReason,
    FrameDecoder,
    FrameProtocol,
    Opcode,
    RsvBits,
)
from wsproto.utilities import RemoteProtocolError

from trio_wsclient._deflate import JudgingExtension
from trio_wsclient._headers import Headers, check_field, is_token, parse_extensions
from trio_wsclient._text import quote

_HEADER: Final = "Sec-WebSocket-Extensions"
Proto: TypeAlias = FrameDecoder | FrameProtocol
_P = ParamSpec("_P")
_T = TypeVar("_T")


class NegotiationError(Exception):
    """The server's answer does not fit what was offered (RFC 6455 §9.1)."""


def check_extensions(extensions: Iterable[Extension]) -> tuple[Extension, ...]:
    """Check and freeze the extensions that a user has passed.

    Raises:
        TypeError: A member is not an ``Extension`` of wsproto.
        ValueError: One has a name that can't be offered, or stands there twice.
    """
    frozen = tuple(extensions)
    for extension in frozen:
        if not isinstance(extension, Extension):
            kind = type(extension).__name__
            raise TypeError(f"an extension is a wsproto.extensions.Extension, not {kind}")
        if not is_token(extension.name):
            raise ValueError(f"not an extension's name: {extension.name!r}")
    if len(set(map(id, frozen))) != len(frozen):
        raise ValueError("an extension stands there twice")
    return frozen


def offer(extensions: Iterable[Extension]) -> str:
    """Return the value of the header that offers the extensions, ``""`` without one.

    Raises:
        ValueError: An extension has parameters that can't be offered.
    """
    offers = []
    for extension in extensions:
        params = extension.offer()
        if params:
            offers.append(f"{extension.name}; {params}" if params is not True else extension.name)
        elif params == "":
            offers.append(extension.name)
    value = ", ".join(offers)
    check_field(_HEADER, value)
    parse_extensions(value)
    return value


def negotiate(
    extensions: Sequence[Extension], offered: str, headers: Headers
) -> tuple[Extension, ...]:
    """Return the extensions that are in use after the server's answer, in their order.

    Those that work without negotiation come first, then the negotiated ones in the order of the
    answer (RFC 6455 §9.1).

    Raises:
        NegotiationError: The answer has an extension that was not offered, or one twice, or
            parameters that the extension does not take.
    """
    names = {element.name for element in parse_extensions(offered)}
    waiting = [extension for extension in extensions if extension.name in names]
    negotiated: list[Extension] = []
    try:
        elements = parse_extensions(", ".join(headers.get_all(_HEADER)))
    except ValueError as exc:
        raise NegotiationError(f"header {_HEADER}: {exc}") from exc
    for element in elements:
        extension = next((e for e in waiting if e.name == element.name), None)
        if extension is None:
            again = any(e.name == element.name for e in negotiated)
            problem = "accepted twice" if again else "was not offered"
            raise NegotiationError(f"header {_HEADER}: '{quote(element.name)}' {problem}")
        waiting.remove(extension)
        try:
            extension.finalize(element.text)
        except Exception as exc:
            problem = f"{element.name}: {quote(str(exc))}"
            raise NegotiationError(f"header {_HEADER}: {problem}") from exc
        negotiated.append(extension)
    without = [e for e in extensions if e not in negotiated and e.name not in names and e.enabled()]
    return (*without, *negotiated)


class Chain(Extension):
    """The extensions in use, as a single one.

    Args:
        extensions: The first is the nearest to the user, the last to the wire.
    """

    name = "chain"

    def __init__(self, extensions: Sequence[Extension]) -> None:
        self._extensions = extensions
        self.failure: tuple[Exception, int] | None = None  # why to fail, and with which code
        self.is_text: bool = False  # whether the frame that begins is Text on the wire

    def enabled(self) -> bool:
        return True

    def offer(self) -> bool | str:
        raise NotImplementedError("its members are offered")

    def frame_inbound_header(
        self,
        proto: Proto,
        opcode: Opcode,
        rsv: RsvBits,
        payload_length: int,
    ) -> CloseReason | RsvBits:
        opcode = self._true(opcode)
        used = RsvBits(False, False, False)
        for extension in reversed(self._extensions):
            result = self._ask(extension, _header, proto, opcode, rsv, payload_length)
            if isinstance(result, CloseReason):
                return result
            used = RsvBits(*map(operator.or_, used, result))
        return used

    def frame_inbound_payload_data(self, proto: Proto, data: bytes) -> bytes | CloseReason:
        for extension in reversed(self._extensions):
            result = self._ask(extension, _payload, proto, data)
            if isinstance(result, CloseReason):
                return result
            data = result
        return data

    def frame_inbound_complete(self, proto: Proto, fin: bool) -> bytes | CloseReason | None:
        data = b""
        for extension in reversed(self._extensions):
            result = self._ask(extension, _complete, proto, data, fin)
            if isinstance(result, CloseReason):
                return result
            data = result
        return data

    def frame_outbound(
        self, proto: Proto, opcode: Opcode, rsv: RsvBits, data: bytes, fin: bool
    ) -> tuple[RsvBits, bytes]:
        opcode = self._true(opcode)
        for extension in self._extensions:
            result = self._ask(extension, _outbound, proto, opcode, rsv, data, fin)
            if isinstance(result, CloseReason):
                return RsvBits(False, False, False), b""
            rsv, data = result
        return rsv, data

    def _true(self, opcode: Opcode) -> Opcode:
        return Opcode.TEXT if self.is_text and opcode is Opcode.BINARY else opcode

    def _ask(
        self,
        extension: Extension,
        hook: Callable[Concatenate[Extension, _P], _T | CloseReason],
        *args: _P.args,
        **kwargs: _P.kwargs,
    ) -> _T | CloseReason:
        """Call a hook; keep in ``failure`` why there is no result to go on with."""
        try:
            result = hook(extension, *args, **kwargs)
        except Exception as exc:  # noqa: BLE001 whatever it is, it is theirs
            self.failure = (exc, CloseReason.INTERNAL_ERROR)
            return CloseReason.INTERNAL_ERROR
        if isinstance(result, CloseReason):
            refusal = extension.refusal if isinstance(extension, JudgingExtension) else ""
            problem = refusal or f"the extension {extension.name} refused a frame"
            code = CloseReason.INTERNAL_ERROR if result in LOCAL_ONLY_CLOSE_REASONS else result
            self.failure = (RemoteProtocolError(problem), code)
        return result


# The hooks, with what they return made sure of: a wrong type is their author's bug, too.


def _header(
    extension: Extension, proto: Proto, opcode: Opcode, rsv: RsvBits, size: int
) -> RsvBits | CloseReason:
    result = extension.frame_inbound_header(proto, opcode, rsv, size)
    return result if isinstance(result, CloseReason) else _bits(result)


def _payload(extension: Extension, proto: Proto, data: bytes) -> bytes | CloseReason:
    result = extension.frame_inbound_payload_data(proto, data)
    return result if isinstance(result, CloseReason) else _bytes(result)


def _complete(extension: Extension, proto: Proto, data: bytes, fin: bool) -> bytes | CloseReason:
    before = _payload(extension, proto, data) if data else data
    if isinstance(before, CloseReason):
        return before
    result = extension.frame_inbound_complete(proto, fin)
    if isinstance(result, CloseReason):
        return result
    return before if result is None else before + _bytes(result)


def _outbound(  # noqa: PLR0917 they are the hook's
    extension: Extension, proto: Proto, opcode: Opcode, rsv: RsvBits, data: bytes, fin: bool
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
