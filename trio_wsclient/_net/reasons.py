"""Why a connection could not be made, or broke, in words, and what to do if that is known."""

from __future__ import annotations

import errno
import os
import re
import socket
import ssl
from collections.abc import Sequence
from typing import Final

from trio_wsclient._text import exception_text, quote, system_text

# X509_V_ERR_HOSTNAME_MISMATCH and X509_V_ERR_IP_ADDRESS_MISMATCH of OpenSSL
_OTHER_NAME: Final = frozenset({62, 64})
# X509_V_ERR_CERT_NOT_YET_VALID and X509_V_ERR_CERT_HAS_EXPIRED
_OTHER_TIME: Final = frozenset({9, 10})
# How the texts of errors name the peer, and what to change.
_OF_SERVER: Final = {
    "peer": "the server",
    "option": "ssl_context",
    "name": "see server_hostname",
}
_OF_PROXY: Final = {
    "peer": "the proxy",
    "option": "ssl_context of Proxy",
    "name": "write the certificate's name in the proxy's URL",
}
DOES_IT_SPEAK_TLS: Final = "; does it speak TLS?"
_OTHER_CERTIFICATE: Final = ": {peer} does not trust the client certificate; see {option}"
_OTHER_VERSION: Final = ": {peer} wants another version of TLS; see {option}"
_ADVICE: Final = {
    "WRONG_VERSION_NUMBER": ": {peer} does not speak TLS; is the scheme right?",
    "TLSV13_ALERT_CERTIFICATE_REQUIRED": ": {peer} wants a client certificate; see {option}",
    "SSLV3_ALERT_HANDSHAKE_FAILURE": (
        ": does {peer} want a client certificate, or other ciphers? See {option}"
    ),
    "SSLV3_ALERT_BAD_CERTIFICATE": _OTHER_CERTIFICATE,
    "SSLV3_ALERT_CERTIFICATE_UNKNOWN": _OTHER_CERTIFICATE,
    "TLSV1_ALERT_UNKNOWN_CA": _OTHER_CERTIFICATE,
    "TLSV1_ALERT_PROTOCOL_VERSION": _OTHER_VERSION,
    "UNSUPPORTED_PROTOCOL": _OTHER_VERSION,
    "TLSV1_UNRECOGNIZED_NAME": ": {peer} does not know this name; {name}",
}
_SSL_REASON: Final = re.compile(r"[A-Z0-9_]+")  # how OpenSSL names a reason
# How Trio names the address that it has tried.
_CONNECTING: Final = re.compile(r"Error connecting to \('(?P<address>[^']*)'[^)]*\): ")
# What Trio says if it can't bind the local address, without the reason.
_NOT_BOUND: Final = re.compile(
    r"local_address='(?P<local>[^']*)' is incompatible with remote address "
    r"\('(?P<address>[^']*)'.*\)"
)
_NOT_BOUND_TEXT: Final = (
    r"local_address \g<local> can't be used for \g<address>: is it an address of this machine, "
    "and of the same family?"
)


def describe_error(cause: BaseException, *, of_proxy: bool = False) -> str:
    """Say in words what broke a stream, and what to do if that is known."""
    words = _OF_PROXY if of_proxy else _OF_SERVER
    # An error of a user's stream may have been made by Python, and has not these attributes then.
    if isinstance(cause, ssl.SSLCertVerificationError) and hasattr(cause, "verify_message"):
        shown = cause.verify_message.removesuffix(".")
        if cause.verify_code in _OTHER_NAME:
            return f"its certificate is for another name ({shown}); {words['name']}"
        if cause.verify_code in _OTHER_TIME:
            return f"its certificate is not valid now ({shown}); is this machine's clock right?"
        return f"its certificate is not trusted ({shown}); see {words['option']}"
    if isinstance(cause, ssl.SSLEOFError):
        return f"{words['peer']} ended TCP{DOES_IT_SPEAK_TLS}"
    if isinstance(cause, ssl.SSLError):
        reason = getattr(cause, "reason", None) or exception_text(cause)
        return quote(_words(reason)) + _ADVICE.get(reason, "").format_map(words)
    # The stream may be the user's: then the text may be any.
    if isinstance(cause, OSError) and system_text(cause):
        file = "" if cause.filename is None else f": {cause.filename}"  # SSLKEYLOGFILE
        return quote(f"{system_text(cause)}{file}")
    return quote(exception_text(cause))


def tcp_reasons(exc: OSError, host: str) -> str:
    """Name what went wrong with each address; Trio has that in a group behind a summary.

    An address is named only if it is not the host itself.
    """

    def shown(connecting: re.Match[str]) -> str:
        address = connecting["address"]
        return "" if address == host else f"{address}: "

    reasons = (system_text(cause) or exception_text(cause) for cause in _causes(exc))
    reasons = (_NOT_BOUND.sub(_NOT_BOUND_TEXT, reason) for reason in reasons)
    return "; ".join(dict.fromkeys(_CONNECTING.sub(shown, reason) for reason in reasons))


def _causes(exc: OSError) -> Sequence[BaseException]:
    group = exc.__cause__
    return group.exceptions if isinstance(group, BaseExceptionGroup) else [exc]


def system_reasons(exc: OSError) -> str:
    """Say why a function of the user's failed, in words of the system only.

    The text of the exception is not used: other libraries put a URL into it, with a password. The
    same holds for ``strerror``, which may be any text. Both are in the traceback, as the cause.
    """
    return "; ".join(dict.fromkeys(map(_system_reason, _causes(exc))))


def _system_reason(exc: BaseException) -> str:
    code = getattr(exc, "errno", None)
    if isinstance(exc, ssl.SSLError):  # Its `errno` has a meaning of its own, as below.
        reason = str(getattr(exc, "reason", ""))
        return _words(reason) if _SSL_REASON.fullmatch(reason) else type(exc).__name__
    if isinstance(exc, socket.gaierror):
        names = (name for name in dir(socket) if name.startswith("EAI_"))
        name = next((name for name in names if getattr(socket, name) == code), "unknown reason")
        return f"name look-up failed ({name})"
    if isinstance(exc, OSError) and isinstance(code, int) and code in errno.errorcode:
        return os.strerror(code)
    return type(exc).__name__


def _words(reason: str) -> str:
    """Make words of a constant of OpenSSL."""
    return reason.replace("_", " ").lower()
