"""The report of each frame to a listener: the log, or an observer.

A frame is reported where it is read or made, so that nothing is parsed or unmasked a second time.
"""

from __future__ import annotations

from typing import Final, Protocol

LISTENED_SIZE: Final = 24  # bytes of a payload that a listener gets, unless it wants all


class FrameListener(Protocol):
    """Gets a call for each frame on the wire."""

    def wants_frames(self) -> bool:
        """Return whether to call the methods below from now on."""

    @property
    def wants_payloads(self) -> bool:
        """Whether ``payload`` has to be complete; otherwise its first 24 bytes are enough."""

    def frame_received(self, first_byte: int, size: int, payload: bytes) -> None:
        """Handle a frame from the server.

        The call comes when the first 24 bytes have come, or the complete frame for a listener that
        wants payloads. A frame that breaks a rule is reported at once, with what has come of it.

        Args:
            first_byte: FIN, the reserved bits and the opcode.
            size: Bytes of the payload on the wire, as the header declares them.
            payload: The payload as on the wire, as far as it is wanted and has come.
        """

    def frame_sent(self, first_byte: int, size: int, payload: bytes) -> None:
        """Handle a frame that is about to be sent; ``payload`` is not masked."""


class FrameReport:
    """The report of one frame from the server, until enough of its payload has come.

    Args:
        listener: Where it goes.
        first_byte: FIN, the reserved bits and the opcode.
        size: Bytes of the payload, as declared.
        max_size: Bytes of it that may be kept for the listener, or ``None``.
    """

    def __init__(
        self, listener: FrameListener, first_byte: int, size: int, max_size: int | None
    ) -> None:
        self._listener = listener
        self._first_byte = first_byte
        self._size = size
        self._payload = bytearray()
        self._wanted = size if listener.wants_payloads else min(size, LISTENED_SIZE)
        if max_size is not None:
            self._wanted = min(self._wanted, max_size)
        self._is_sent = False
        self.add(b"")  # An empty payload is complete already.

    def add(self, piece: bytes | memoryview) -> None:
        """Add a piece of the payload, and send the report if that is enough."""
        if self._is_sent:
            return
        self._payload += piece[: self._wanted - len(self._payload)]
        if len(self._payload) == self._wanted:
            self.send()

    def send(self) -> None:
        """Send the report with what has come, unless it was sent before."""
        if not self._is_sent:
            self._is_sent = True
            payload, self._payload = bytes(self._payload), bytearray()
            self._listener.frame_received(self._first_byte, self._size, payload)
