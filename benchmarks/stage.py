"""Where a workload plays: a client, a server, and somebody to report to."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NoReturn

from clients import Client
from measuring import Figures


@dataclass(frozen=True)
class Stage:
    """What a workload is given.

    Attributes:
        client: The library.
        url: The URL of the server, without a path.
        ssl_context: For `wss`, else `None`.
        report: To be called with the figures; does not return.
    """

    client: Client
    url: str
    ssl_context: ssl.SSLContext | None
    report: Callable[[Figures], NoReturn]

    def connect(self, path: str, *, compress: bool = False) -> Any:
        return self.client.connect(self.url + path, self.ssl_context, compress=compress)

    def check(self, received: object, is_right: Callable[[Any], bool]) -> None:
        """Raise an error if that is not what had to come; the limit has nothing to look at."""
        if self.client.is_limit:
            return
        content = self.client.content(received)
        if not is_right(content):
            raise ValueError(f"received {content!r:.60}")
