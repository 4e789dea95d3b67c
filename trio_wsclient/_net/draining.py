"""A stream whose failed writes count only after what has come was read.

A server or a proxy may respond before it has read the request, and then close. The request's write
fails, but the response is here to be read, and it says why: 503, or an alert of TLS.
"""

from __future__ import annotations

from typing import Final

import trio

BROKEN: Final = (OSError, trio.BrokenResourceError, trio.ClosedResourceError)
# seconds: a socket that can't be written is at its end, but a user's stream may be half broken.
_PATIENCE: Final = 1.0


class DrainingStream:
    """The part of a stream that a request and its response need.

    Args:
        stream: The stream.
    """

    def __init__(self, stream: trio.abc.Stream) -> None:
        self._stream = stream
        self._write_error: Exception | None = None

    async def send_all(self, data: bytes) -> None:
        """Send, unless a write has failed. ``receive_some`` raises the error of a write."""
        if self._write_error is not None:
            await trio.lowlevel.checkpoint()
            return
        try:
            await self._stream.send_all(data)
        except BROKEN as exc:
            # The traceback has this frame, so it would make a cycle with this object.
            self._write_error = exc.with_traceback(None)

    async def receive_some(self, max_bytes: int) -> bytes:
        """Return what has come.

        Raises:
            Exception: The stream is broken. The error of a failed write is raised when nothing more
                comes, unless reading has failed for a reason of its own, such as an alert of TLS.
        """
        if self._write_error is None:
            return bytes(await self._stream.receive_some(max_bytes))
        data = b""
        with trio.move_on_after(_PATIENCE):
            try:
                data = bytes(await self._stream.receive_some(max_bytes))
            except BROKEN as exc:
                if exc.__cause__ is not None:
                    raise
        if not data:
            self.check_sent()
        return data

    def check_sent(self) -> None:
        """Raise the error of a failed write, if there is one: the response can't be to it."""
        # Neither this object nor this frame may keep the error: they are in its traceback.
        error, self._write_error = self._write_error, None
        try:
            if error is not None:
                raise error
        finally:
            del error
