"""A WebSocket client for Trio that closes when its block is left, however it is left."""

from trio_wsclient._background import background_task
from trio_wsclient._client import WebSocketClient
from trio_wsclient._connection.receiving import Frames
from trio_wsclient._connection.sending import MessageWriter
from trio_wsclient._errors import (
    ConnectionClosed,
    ConnectionClosedError,
    ConnectionClosedOK,
    ConnectionRejected,
    HandshakeError,
    InvalidResponse,
    InvalidURL,
    OpenTimeout,
    ProxyError,
    UnexpectedMessage,
    WebSocketError,
    WebSocketInternalError,
)
from trio_wsclient._headers import Headers
from trio_wsclient._net.proxy import Proxy
from trio_wsclient._net.tls_info import TLSInfo
from trio_wsclient._observe import ClientStatistics, Observer
from trio_wsclient._open import open_websocket_client, run_websocket_client
from trio_wsclient._options import ClientOptions
from trio_wsclient._protocol.closing import CloseFrame
from trio_wsclient._protocol.deflate import PerMessageDeflate
from trio_wsclient._protocol.events import DataFrame, Opcode
from trio_wsclient._protocol.frames import IMPLEMENTATION
from trio_wsclient._reconnect import Reconnecting, Reconnection, reconnecting
from trio_wsclient._retry import retry_delay
from trio_wsclient._typed_channel import TypedChannel
from trio_wsclient._version import __version__

__all__ = [
    "IMPLEMENTATION",
    "ClientOptions",
    "ClientStatistics",
    "CloseFrame",
    "ConnectionClosed",
    "ConnectionClosedError",
    "ConnectionClosedOK",
    "ConnectionRejected",
    "DataFrame",
    "Frames",
    "HandshakeError",
    "Headers",
    "InvalidResponse",
    "InvalidURL",
    "MessageWriter",
    "Observer",
    "Opcode",
    "OpenTimeout",
    "PerMessageDeflate",
    "Proxy",
    "ProxyError",
    "Reconnecting",
    "Reconnection",
    "TLSInfo",
    "TypedChannel",
    "UnexpectedMessage",
    "WebSocketClient",
    "WebSocketError",
    "WebSocketInternalError",
    "__version__",
    "background_task",
    "open_websocket_client",
    "reconnecting",
    "retry_delay",
    "run_websocket_client",
]
