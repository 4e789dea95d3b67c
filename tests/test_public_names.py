"""A snapshot of what users can name: a change here is one that they will see."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import inspect
import re
import subprocess
import sys
import types
from typing import get_type_hints

import pytest
import trio

import trio_wsclient
import trio_wsclient.testing
from trio_wsclient import ClientOptions, WebSocketClient

CONSTANTS = {"IMPLEMENTATION", "__version__"}
NAMES = [
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

METHODS = {
    "aclose": "(self, code: 'int' = 1000, reason: 'str' = '') -> 'None'",
    "binary_writer": "(self) -> 'MessageWriter[BytesLike]'",
    "frames": "(self) -> 'Frames'",
    "ping": "(self, payload: 'BytesLike | None' = None) -> 'float'",
    "pong": "(self, payload: 'BytesLike' = b'') -> 'None'",
    "receive": "(self) -> 'str | bytes'",
    "receive_binary": "(self) -> 'bytes'",
    "receive_batch": "(self, max_messages: 'int | None' = None) -> 'list[str | bytes]'",
    "receive_nowait": "(self) -> 'str | bytes'",
    "receive_text": "(self) -> 'str'",
    "send": "(self, value: 'str | BytesLike') -> 'None'",
    "send_binary": "(self, data: 'str | BytesLike') -> 'None'",
    "send_many": "(self, messages: 'Iterable[str | BytesLike]') -> 'None'",
    "send_text": "(self, data: 'str | BytesLike') -> 'None'",
    "statistics": "(self) -> 'ClientStatistics'",
    "text_writer": "(self) -> 'MessageWriter[str]'",
    "wait_closed": "(self) -> 'CloseFrame | None'",
}

PROPERTIES = {
    "closed_by": "Literal['client', 'server'] | None",
    "connection_id": "int",
    "extensions": "tuple[str, ...]",
    "latency": "float | None",
    "local_address": "object",
    "logger": "logging.Logger",
    "outcome": "ConnectionClosed | None",
    "redirects": "tuple[str, ...]",
    "remote_address": "object",
    "response_headers": "Headers",
    "subprotocol": "str | None",
    "tls": "TLSInfo | None",
    "url": "str",
}

FUNCTIONS = {
    "background_task": (
        "(fn: 'Callable[[*Arguments], Awaitable[Any]]', *args: '*Arguments')"
        " -> 'AbstractAsyncContextManager[None]'"
    ),
    "open_websocket_client": (
        "(url: 'str', **options: 'Unpack[ClientOptions]')"
        " -> 'AbstractAsyncContextManager[WebSocketClient]'"
    ),
    "reconnecting": (
        "(target: 'str | _MakeURL | _Open', /, *, retry_delay: 'RetryDelay' = retry_delay,"
        " first_delay: 'float' = 1.0, max_delay: 'float' = 60.0, reset_after: 'float' = 60.0,"
        " silence_timeout: 'float | None' = None,"
        " **options: 'Unpack[ClientOptions]') -> 'Reconnecting'"
    ),
    "retry_delay": "(error: 'WebSocketError', failures: 'int') -> 'float | None'",
    "run_websocket_client": (
        "(url: 'str', handler: 'Callable[[WebSocketClient], Awaitable[object]]', *,"
        " task_status: 'trio.TaskStatus[WebSocketClient]' = TASK_STATUS_IGNORED,"
        " **options: 'Unpack[ClientOptions]') -> 'CloseFrame | None'"
    ),
}

FIELDS = {
    "ClientStatistics": [
        "messages_sent",
        "messages_received",
        "bytes_sent",
        "bytes_received",
        "uncompressed_bytes_sent",
        "uncompressed_bytes_received",
        "pings_sent",
        "pings_received",
        "latency",
        "smoothed_latency",
        "buffered_messages",
        "buffered_bytes",
        "most_buffered_bytes",
        "seconds_full",
        "seconds_writing",
        "tasks_waiting_send",
        "tasks_waiting_receive",
    ],
    "CloseFrame": ["code", "reason"],
    "DataFrame": ["opcode", "payload", "fin"],
    "TLSInfo": ["version", "cipher", "alpn_protocol", "server_hostname", "peer_certificate"],
    "PerMessageDeflate": [
        "client_max_window_bits",
        "server_max_window_bits",
        "client_no_context_takeover",
        "server_no_context_takeover",
        "level",
        "memory_level",
        "min_size",
    ],
}

ATTRIBUTES = {
    "ConnectionClosed": [
        *("closed_by", "code", "connection_id", "problem", "reason", "received", "sent"),
    ],
    "ConnectionRejected": [
        *("body", "connection_id", "headers", "problem", "reason_phrase", "redirects"),
        *("status_code", "url"),
    ],
    "Frames": [],
    "Headers": ["get", "get_all", "items", "keys", "raw", "tokens", "values"],
    "InvalidURL": ["problem", "url"],
    "MessageWriter": ["write"],
    "HandshakeError": ["connection_id", "redirects"],
    "Observer": [
        *("closed", "frame_received", "frame_sent", "opened", "opening_failed", "retrying"),
        "wants_payloads",
    ],
    "OpenTimeout": ["connection_id", "phase", "redirects", "seconds"],
    "Proxy": [
        *("credentials", "fields", "headers", "host", "is_secure", "is_socks", "port"),
        *("resolves", "ssl_context", "url"),
    ],
    "ProxyError": ["body", "connection_id", "headers", "reason_phrase", "redirects", "status_code"],
    "Reconnecting": [],
    "Reconnection": ["attempt", "last_error"],
    "TypedChannel": ["aclose", "receive", "send"],
    "UnexpectedMessage": ["message", "problem"],
}

CLASSES = {
    name: getattr(trio_wsclient, name)
    for name in NAMES
    if isinstance(getattr(trio_wsclient, name), type)
}


def public(owner: object) -> list[str]:
    return sorted(name for name in dir(owner) if not name.startswith("_"))


def documented(cls: type) -> set[str]:
    """Return the names in the section "Attributes" of a class's docstring."""
    _, _, section = (inspect.getdoc(cls) or "").partition("Attributes:\n")
    section, *_ = re.split(r"\n(?=\S)", section)
    lines = [line for line in section.splitlines() if line[:4].isspace() and line[4:5].strip()]
    return {line.strip().partition(":")[0] for line in lines}


def test_public_names_are_these():
    assert trio_wsclient.__all__ == NAMES


def test_nothing_else_looks_public():
    others = {
        name
        for name in public(trio_wsclient)
        if not isinstance(getattr(trio_wsclient, name), types.ModuleType)
    }
    assert others == set(NAMES) - {"__version__"}


def test_attributes_of_a_client_are_these():
    assert public(WebSocketClient) == sorted([*METHODS, *PROPERTIES])


@pytest.mark.parametrize(("name", "signature"), METHODS.items(), ids=METHODS)
def test_method_of_a_client_is_called_like_this(name: str, signature: str):
    assert str(inspect.signature(getattr(WebSocketClient, name))) == signature


@pytest.mark.parametrize(("name", "annotation"), PROPERTIES.items(), ids=PROPERTIES)
def test_property_of_a_client_is_of_this_type(name: str, annotation: str):
    getter = inspect.getattr_static(WebSocketClient, name).fget
    assert inspect.signature(getter).return_annotation == annotation


@pytest.mark.parametrize(("name", "signature"), FUNCTIONS.items(), ids=FUNCTIONS)
def test_function_is_called_like_this(name: str, signature: str):
    shown = str(inspect.signature(getattr(trio_wsclient, name)))
    assert re.sub(r"<function (\w+) at \w+>", r"\1", shown) == signature


@pytest.mark.parametrize(("name", "fields"), FIELDS.items(), ids=FIELDS)
def test_fields_of_plain_data_are_these(name: str, fields: list[str]):
    assert [field.name for field in dataclasses.fields(CLASSES[name])] == fields
    assert public(CLASSES[name]) == sorted(fields)
    assert documented(CLASSES[name]) == set(fields)


@pytest.mark.parametrize(("name", "attributes"), ATTRIBUTES.items(), ids=ATTRIBUTES)
def test_what_else_has_attributes_has_these(name: str, attributes: list[str]):
    cls = CLASSES[name]
    inherited = {"add_note", "args", "with_traceback"} if issubclass(cls, Exception) else set()
    assert sorted({*public(cls), *documented(cls)} - inherited) == attributes


def test_client_is_a_channel():
    assert issubclass(WebSocketClient, trio.abc.Channel)


@pytest.mark.parametrize("name", [name for name in NAMES if name not in CONSTANTS])
def test_every_public_name_has_a_docstring(name: str):
    text = getattr(trio_wsclient, name).__doc__
    assert text
    assert not text.startswith(f"{name}("), "what a dataclass writes by itself"


@pytest.mark.parametrize("cls", CLASSES.values(), ids=CLASSES)
def test_everything_public_in_a_class_has_a_docstring(cls: type):
    bare = {
        name
        for name, value in vars(cls).items()
        if not name.startswith("_")
        and isinstance(value, types.FunctionType | property)
        and not value.__doc__
    }
    assert bare <= documented(cls)


def test_version_is_that_of_the_distribution():
    assert importlib.metadata.version("trio-wsclient") == trio_wsclient.__version__


# The kit for tests

OF_TESTING = {
    "LoopbackServer": ["port", "url"],
    "Peer": [
        *(
            "answers",
            "close",
            "close_received",
            "cut",
            "go_on",
            "is_over",
            "messages",
            "ping",
            "pings",
            "pong",
        ),
        *("pongs", "read", "receive", "request", "send", "send_close", "send_raw"),
        *("shake_hands", "stall", "wait_closed"),
    ],
    "Rejection": ["body", "headers", "reason_phrase", "status_code"],
    "Request": ["headers", "target"],
    "echo": None,
    "fixed_randomness": None,
    "memory_websocket_pair": None,
    "open_loopback_server": None,
}


def test_public_names_for_tests_are_these():
    assert trio_wsclient.testing.__all__ == list(OF_TESTING)


@pytest.mark.parametrize(("name", "attributes"), OF_TESTING.items(), ids=OF_TESTING)
def test_they_have_these_attributes_and_docstrings(name: str, attributes: list[str] | None):
    found = getattr(trio_wsclient.testing, name)
    assert found.__doc__
    if attributes is not None:
        assert sorted({*public(found), *documented(found)}) == attributes
        bare = {
            attribute
            for attribute in public(found)
            if isinstance(vars(found)[attribute], types.FunctionType)
            and not vars(found)[attribute].__doc__
        }
        assert bare == set()


def test_import_leaves_out_what_few_programs_need():
    """Each of these takes as long to import as many modules of ours."""
    program = "import sys, trio_wsclient; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    modules = {*done.stdout.decode().split()}
    assert "trio_wsclient._net.no_proxy" in modules
    assert modules.isdisjoint({"difflib", "email.utils", "http.client", "urllib.request"})
    assert modules.isdisjoint({"h11", "wsproto", "trio_wsclient._protocol.extensions"})


def test_type_hints_of_the_options_can_be_resolved():
    assert get_type_hints(ClientOptions).keys() == ClientOptions.__annotations__.keys()
