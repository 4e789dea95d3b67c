"""What a connection tells of itself, by ``logging``.

Openings and endings are told at level DEBUG, frames at ``FRAMES``, below it. Each record carries
its facts as attributes (``extra``): ``connection_id`` and ``url`` always, ``phase`` while it opens,
``opcode``, ``length`` and ``direction`` of a frame. No credential is in them, and no value of the
URL's query, which often is one. The beginning of a payload is shown as it is on the wire.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from trio_wsclient._observer import Observer
from trio_wsclient._splitter import TRACE_SIZE, Trace

FRAMES: Final = 5  # half of DEBUG, as other libraries have their TRACE

_ids: Final = itertools.count(1)
_OPCODES: Final = {0: "Continuation", 1: "Text", 2: "Binary", 8: "Close", 9: "Ping", 10: "Pong"}
_FLAGS: Final = {0x80: "FIN", 0x40: "RSV1", 0x20: "RSV2", 0x10: "RSV3"}
_MASK_SIZE: Final = 4  # bytes (RFC 6455 §5.2)


class Log:
    """The log of one connection.

    Args:
        logger: Where it goes.
        url: The URL as it may be shown.
        observer: Who is told of frames as well.
    """

    def __init__(self, logger: logging.Logger, url: str, observer: Observer | None = None) -> None:
        self._logger = logger
        self._observer = observer
        self.url = url
        self.connection_id: Final = next(_ids)

    def observe(self, tell: Callable[[Observer], None]) -> None:
        """Have the observer told, if there is one; it can do no harm."""
        if self._observer is None:
            return
        try:
            tell(self._observer)
        except Exception:  # noqa: BLE001 whatever a user's code raises
            self._observer = None
            self._write(logging.ERROR, "the observer has raised", (), {}, exc_info=True)

    def tell(self, message: str, *args: object, **facts: object) -> None:
        """Tell what happens to the connection as a whole."""
        self._write(logging.DEBUG, message, args, facts)

    def trace(self) -> Trace | None:
        """Return where received frames are to be told of; ``None`` if nobody wants to know."""
        is_wanted = self._observer is not None or self._logger.isEnabledFor(FRAMES)
        return self._received if is_wanted else None

    def sent(self, data: bytes) -> None:
        """Tell of the frames that are written; they are masked, and whole."""
        if self._observer is None and not self._logger.isEnabledFor(FRAMES):
            return
        start = 0
        while start < len(data):
            length = data[start + 1] & 0x7F
            extended = {126: 2, 127: 8}.get(length, 0)
            mask_start = start + 2 + extended
            if extended:
                length = int.from_bytes(data[start + 2 : mask_start], "big")
            payload_start = mask_start + _MASK_SIZE
            mask = data[mask_start:payload_start]
            beginning = data[payload_start : payload_start + min(length, TRACE_SIZE)]
            plain = bytes(byte ^ mask[i % _MASK_SIZE] for i, byte in enumerate(beginning))
            self._frame("sent", data[start], length, plain)
            start = payload_start + length

    def _received(self, first_byte: int, size: int, beginning: bytes) -> None:
        self._frame("received", first_byte, size, beginning)

    def _frame(self, direction: str, first_byte: int, size: int, beginning: bytes) -> None:
        opcode, number = first_byte & 0x0F, self.connection_id
        if direction == "sent":
            self.observe(lambda observer: observer.frame_sent(number, opcode, size))
        else:
            self.observe(lambda observer: observer.frame_received(number, opcode, size))
        if not self._logger.isEnabledFor(FRAMES):
            return
        flags = " ".join(name for bit, name in _FLAGS.items() if first_byte & bit) or "no flag"
        name = _OPCODES.get(opcode, f"opcode {opcode}")
        self._write(
            FRAMES,
            "%s %s, %s, %d bytes: %s%s",
            (direction, name, flags, size, beginning.hex(" "), "..." * (size > TRACE_SIZE)),
            {"direction": direction, "opcode": opcode, "length": size},
        )

    def _write(
        self,
        level: int,
        message: str,
        args: tuple[object, ...],
        facts: dict[str, object],
        *,
        exc_info: bool = False,
    ) -> None:
        # X1, X2: what a user's handler or filter raises is no matter of the connection.
        with suppress(Exception):
            self._logger.log(
                level,
                f"[%d] {message}",  # noqa: G004 it is a format still
                self.connection_id,
                *args,
                exc_info=exc_info,
                extra={"connection_id": self.connection_id, "url": self.url, **facts},
            )
