"""The default TLS context: which CAs are trusted where the user names none."""

from __future__ import annotations

import os
import re
import ssl
import sys
import threading
from pathlib import Path
from typing import Final

import trio
import truststore

_HASHED_NAME: Final = re.compile(r"[0-9a-f]{8}\.[0-9]+")
_default_context_lock = threading.Lock()
_default_context: ssl.SSLContext | None = None


async def default_ssl_context() -> ssl.SSLContext:
    """Return the context for who names none: made once, off the event loop.

    It takes OpenSSL some 20 to 60 ms to parse a bundle of CA certificates.
    """
    if _default_context is not None:
        return _default_context
    return await trio.to_thread.run_sync(_make_default_context, abandon_on_cancel=True)


def _make_default_context() -> ssl.SSLContext:
    global _default_context  # noqa: PLW0603 one for the process, that is the point of it
    with _default_context_lock:
        if _default_context is None:
            _default_context = _new_default_context(sys.platform)
        return _default_context


def _renew_lock() -> None:
    """Renew the lock: the thread that held it at the time of a fork is not in the child."""
    global _default_context_lock  # noqa: PLW0603 as above
    _default_context_lock = threading.Lock()


if hasattr(os, "register_at_fork"):  # pragma: no branch - Windows has no fork
    os.register_at_fork(after_in_child=_renew_lock)


def _new_default_context(platform: str) -> ssl.SSLContext:
    # If the user has set one of these, it counts on any platform. truststore ignores them.
    is_told = any(os.environ.get(name) for name in ("SSL_CERT_FILE", "SSL_CERT_DIR"))
    # On Linux truststore parses the CA bundle for each connection, in the event loop. On macOS
    # and Windows it asks the platform, which knows more than a bundle does.
    if is_told or (platform not in {"darwin", "win32"} and _openssl_has_cas()):
        return ssl.create_default_context()
    context = truststore.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    # As `ssl.create_default_context` does.
    keys = os.environ.get("SSLKEYLOGFILE")
    if keys and not sys.flags.ignore_environment:
        context.keylog_filename = keys
    return context


def _openssl_has_cas() -> bool:
    """Tell whether OpenSSL finds CAs by itself; a standalone build of Python may not."""
    paths = ssl.get_default_verify_paths()
    if paths.cafile is not None:
        return True
    # openssl-rehash(1): in a directory only names of this form are looked at.
    files = [] if paths.capath is None else Path(paths.capath).iterdir()
    return any(_HASHED_NAME.fullmatch(file.name) for file in files)
