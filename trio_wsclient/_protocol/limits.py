"""Limits on what one connection may take: bytes of memory, and time before other tasks run."""

from __future__ import annotations

import sys
from typing import Final, NamedTuple

from trio_wsclient._protocol.closing import TOO_BIG, ProtocolViolation

# Frames of one message, while its size is limited: an endless row of empty frames would never
# reach that limit. Autobahn 9.3.1 and 9.4.1 send 65,537.
_MAX_FRAGMENTS: Final = 70_000


class Limits(NamedTuple):
    """The limits on the sizes of what the server sends; ``None`` is no limit.

    Attributes:
        max_message_size: Bytes of a message, after decompression.
        max_frame_size: Bytes of a frame's payload on the wire.
    """

    max_message_size: int | None = None
    max_frame_size: int | None = None

    def normalized(self) -> Limits:
        """Return the limits with ``None`` for those that no object in memory can reach.

        A C function that is given a size holds it in a ``Py_ssize_t``, and some count one more.
        """
        return Limits(*(None if x is None or x >= sys.maxsize else x for x in self))

    def check_frame(self, size: int) -> None:
        """Check the size that a header declares."""
        limit = self.max_frame_size
        if limit is not None and size > limit:
            raise too_big(f"a frame of {size} bytes, over max_frame_size ({limit})")

    def check_message(self, size: int, frames: int) -> None:
        """Check the size that a message has so far, or will have after its latest frame."""
        limit = self.max_message_size
        if limit is None:
            return
        if size > limit:
            raise too_big(f"a message of at least {size} bytes, over max_message_size ({limit})")
        if frames > _MAX_FRAGMENTS:
            raise too_big(f"a message of more than {_MAX_FRAGMENTS} frames")


NO_LIMITS: Final = Limits()


def too_big(problem: str) -> ProtocolViolation:
    """Return the violation of a limit (RFC 6455 §7.4.1: 1009)."""
    return ProtocolViolation(problem, TOO_BIG)


# What work costs, in nanoseconds: the worst that was measured, so that a slice is over in time
# whatever the server sends. A typical input costs a tenth of that. Between two steps of its own
# another task may wait for two slices, and on a slow machine a slice takes twice as long:
# `tests/client/test_situations_work.py` and `_many.py` hold that to 5 ms.
SLICE_COST: Final = 1_000_000  # of one slice, until other tasks may run
MESSAGE_COST: Final = 500  # of a whole message in the fast path
TEXT_FRAME_COST: Final = 3_000  # the same if text is not decoded, so that it needs an object
ENCODE_COST: Final = 1_500  # of a message of `send_many` that is checked and encoded
SENT_MESSAGE_COST: Final = 5_000  # of a message that is sent, in pure Python, beside its bytes
SENT_BYTE_COST: Final = 5  # of a byte of it that is encoded and masked
FLUSH_COST: Final = 25_000  # of a message that is compressed, beside its bytes
FRAME_COST: Final = 8_000  # of any other frame, also of a control frame
HOOKS_COST: Final = 30_000  # of the hooks of other extensions, for a piece of a payload
SENT_HOOK_COST: Final = 10_000  # of the hook of one extension, for a message that is sent
REPORT_COST: Final = 300_000  # of a frame that is reported to the listener, and its pong
STREAM_COST: Final = 3_000  # of a deflate stream that begins (RFC 7692 §7.2.3.4)
INFLATE_COST: Final = 6_000  # of a payload, or a piece of one, that is inflated
DEFLATED_BYTE_COST: Final = 200  # of a byte to inflate: empty blocks, each with codes of its own
INFLATED_BYTE_COST: Final = 4  # of a byte that comes out of it


class WorkBudget:
    """How much work is left in the slice under way.

    Attributes:
        left: The work that is left, in nanoseconds. Each piece of work subtracts its cost, and
            stops at 0.
    """

    __slots__ = ("left",)

    def __init__(self) -> None:
        self.left: int = SLICE_COST
