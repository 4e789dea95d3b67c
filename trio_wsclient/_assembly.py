"""Data frames that wsproto has accepted, within the limits, and as whole as they are handed over.

A header goes to wsproto as a whole, and only if it was accepted are the limits held against it,
before any of the payload has come. What extensions make of a payload is measured when it comes out
of them; our own deflate knows the limit itself.
"""

from __future__ import annotations

import codecs
from typing import Final

import wsproto.events

from trio_wsclient._breach import not_utf8, too_big
from trio_wsclient._events import DataFrame, Entry, Opcode
from trio_wsclient._framing import Framing

# Fragments of one message while there is a limit on its size: an endless row of empty ones would
# never reach that. Autobahn 9.3.1 and 9.4.1 send 65,537.
_MAX_FRAGMENTS: Final = 70_000


class Assembly:
    """The data frames of one connection.

    Args:
        framing: Where they come from.
        decode_text: Whether Text is checked and decoded; otherwise it is handed over as bytes.
        max_message_size: Limit on the bytes of a message, or ``None``.
        max_frame_size: Limit on the bytes of a frame on the wire, or ``None``.
    """

    def __init__(
        self,
        framing: Framing,
        *,
        decode_text: bool,
        max_message_size: int | None,
        max_frame_size: int | None,
    ) -> None:
        self._framing = framing
        self._decode_text = decode_text
        self._max_message_size = max_message_size
        self._max_frame_size = max_frame_size
        self._payload = bytearray()  # of the frame under way, as far as it has come
        self._message_opcode: Opcode | None = None  # of the message under way
        self._message_size = 0  # bytes of it so far, after extensions
        self._fragments = 0
        self._decoder = codecs.getincrementaldecoder("utf-8")()

    @property
    def is_inside(self) -> bool:
        """Whether a message is under way."""
        return self._message_opcode is not None

    @property
    def partial_size(self) -> int:
        """How many bytes of a frame have come that is not whole yet."""
        return len(self._payload)

    def begin_frame(self) -> None:
        """Take note of a header, before wsproto has judged it."""
        self._fragments += 1
        if self._framing.input.opcode != Opcode.CONTINUATION:
            self._decoder.reset()

    def check_header(self) -> None:
        """Hold the limits against a header that wsproto has accepted.

        Raises:
            Breach: It is over one of them.
        """
        source = self._framing.input
        if source.opcode == Opcode.CONTINUATION and not self.is_inside:
            return  # There is no message that could be too big: wsproto refuses the frame.
        size = source.size
        limit = self._max_frame_size
        if limit is not None and size > limit:
            raise too_big(f"a frame of {size} bytes, over max_frame_size ({limit})")
        if self._framing.is_plain:
            self._check_message_size(self._message_size + size)
        if self._max_message_size is not None and self._fragments > _MAX_FRAGMENTS:
            raise too_big(f"a message of more than {_MAX_FRAGMENTS} frames")

    def _check_message_size(self, size: int) -> None:
        limit = self._max_message_size
        if limit is not None and size > limit:
            raise too_big(f"a message of at least {size} bytes, over max_message_size ({limit})")

    def add(self, judged: wsproto.events.BytesMessage) -> Entry | None:
        """Take a piece of a payload; return what is whole by it.

        Raises:
            Breach: The message is too big after extensions, or Text that is not UTF-8.
        """
        self._message_size += len(judged.data)
        if not self._framing.is_plain:
            self._check_message_size(self._message_size)
        opcode = Opcode(self._framing.input.opcode)
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
            raise not_utf8(exc) from exc
        if judged.message_finished:
            self._message_opcode = None
            self._message_size = self._fragments = 0
        if whole and decode:
            return text
        if whole and opcode is Opcode.BINARY:
            return payload
        return DataFrame(opcode, payload, judged.message_finished)
