"""The user's own header fields, attempt by attempt: fixed, or returned by a function.

An attempt is one connection to one URL: the first, a redirect that is followed, or the repeat for
``on_rejected``. A header may hold a credential, so none leaves the origin that it was meant for
(RFC 6454). After a redirect to another origin only ``redirect_headers`` is asked.
"""

from __future__ import annotations

import inspect
from typing import TypeAlias

from trio_wsclient._errors import ConnectionRejected, HandshakeError
from trio_wsclient._functions import check_awaitable, refuse_async
from trio_wsclient._http.handshake import check_extra_headers
from trio_wsclient._http.url import URL
from trio_wsclient._interrupts import await_interruptible, call_interruptible
from trio_wsclient._net.reasons import system_reasons
from trio_wsclient._options import Options

Fields: TypeAlias = tuple[tuple[str, str], ...]


class AttemptHeaders:
    """The user's header fields of one opening.

    Args:
        options: The options that say what they are.
    """

    def __init__(self, options: Options) -> None:
        self._options = options
        self._extra = options.extra_headers
        self._on_rejected = options.on_rejected
        self._added: Fields = ()  # what on_rejected has returned

    @property
    def asks_first(self) -> bool:
        """Whether a function of the user's is asked before the next attempt."""
        return callable(self._extra)

    @property
    def asks_if_rejected(self) -> bool:
        """Whether a function of the user's is asked when the next attempt is rejected."""
        return self._on_rejected is not None

    async def for_attempt(self) -> Fields:
        """Return the header fields that the options add to the next request.

        Raises:
            HandshakeError: ``extra_headers`` raised an ``OSError``. What else it raises leaves as
                it is.
            TypeError: The function has returned something else than header fields.
            ValueError: A field can't be sent.
        """
        extra = await self._ask_extra() if callable(self._extra) else self._extra
        assert isinstance(extra, tuple)
        replaced = {name.lower() for name, _ in self._added}
        kept = (field for field in extra if field[0].lower() not in replaced)
        return self._options.headers_with((*kept, *self._added))

    async def _ask_extra(self) -> Fields:
        assert callable(self._extra)
        try:
            result = call_interruptible(self._extra)
            if inspect.isawaitable(result):
                result = await await_interruptible(result)
            fields = _fields_of("extra_headers", result)
        except OSError as exc:
            raise HandshakeError(f"extra_headers failed: {system_reasons(exc)}") from exc
        self._options.check_origin(fields)
        return fields

    def change_origin(self, url: URL) -> None:
        """Forget the header fields of the origin that a redirect has left.

        Args:
            url: The URL that it leads to.
        """
        keep = self._options.redirect_headers
        self._extra, self._added, self._on_rejected = (), (), None
        if keep is not None:
            result = call_interruptible(keep, str(url))
            refuse_async("redirect_headers", result)
            self._extra = _fields_of("redirect_headers", result)

    async def ask_on_rejected(self, error: ConnectionRejected) -> bool:
        """Ask for header fields to repeat a request with; return whether to repeat it.

        It is asked once. What it raises leaves as it is.

        Raises:
            TypeError: It is not async, or has returned something else than header fields.
            ValueError: A field can't be sent.
        """
        on_rejected, self._on_rejected = self._on_rejected, None
        assert on_rejected is not None
        answering = call_interruptible(on_rejected, error)
        check_awaitable("on_rejected", on_rejected, answering)
        result = await await_interruptible(answering)
        if result is None:
            return False
        self._added = _fields_of("on_rejected", result)
        return True


def _fields_of(option: str, result: object) -> Fields:
    """Check what a function has returned; if that is a generator, the function goes on to run."""
    return call_interruptible(check_extra_headers, result, f"the result of {option}")
