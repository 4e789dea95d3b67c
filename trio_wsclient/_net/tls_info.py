"""What a TLS handshake has agreed on, as data."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, Protocol


@dataclass(frozen=True, slots=True)
class TLSInfo:
    """What the TLS handshake with a server has agreed on (RFC 8446).

    Attributes:
        version: The version, such as ``"TLSv1.3"``.
        cipher: The name of the cipher suite, such as ``"TLS_AES_256_GCM_SHA384"``.
        alpn_protocol: The protocol that ALPN chose (RFC 7301); ``None`` if there was no choice.
        server_hostname: The name that was verified and sent as SNI.
        peer_certificate: The server's own certificate in DER, also if ``ssl_context`` does not
            verify it. It is ``b""`` if the server has none, as with pre-shared keys.
    """

    version: str
    cipher: str
    alpn_protocol: str | None
    server_hostname: str | None
    peer_certificate: bytes = field(repr=False)


class _TLS(Protocol):
    """The part of ``ssl.SSLObject`` that ``trio.SSLStream`` has, too."""

    @property
    def server_hostname(self) -> str | None: ...
    def version(self) -> str | None: ...
    def cipher(self) -> tuple[str, str, int] | None: ...
    def selected_alpn_protocol(self) -> str | None: ...
    def getpeercert(self, binary_form: Literal[True]) -> bytes | None: ...


def read_tls_info(tls: _TLS) -> TLSInfo:
    """Return what a handshake that is complete has agreed on."""
    version, cipher = tls.version(), tls.cipher()
    assert version is not None
    assert cipher is not None
    return TLSInfo(
        version=version,
        cipher=cipher[0],
        alpn_protocol=tls.selected_alpn_protocol(),
        server_hostname=tls.server_hostname,
        peer_certificate=tls.getpeercert(True) or b"",
    )
