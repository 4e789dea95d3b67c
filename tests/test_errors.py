"""The exceptions: their tree, their texts, and that nothing of them is lost on the way."""

from __future__ import annotations

import copy
import inspect
import pickle
import traceback

import pytest
import trio

import trio_wsclient
from trio_wsclient import (
    CloseFrame,
    ConnectionClosed,
    ConnectionClosedError,
    ConnectionClosedOK,
    ConnectionRejected,
    HandshakeError,
    Headers,
    InvalidResponse,
    InvalidURL,
    OpenTimeout,
    ProxyError,
    UnexpectedMessage,
    WebSocketError,
    WebSocketInternalError,
    _errors,
)
from trio_wsclient._errors import ClosedOnReceive, ClosedOnSend
from trio_wsclient._net import socks

GONE = CloseFrame(1001, "gone")
ECHO = CloseFrame(1001)

EXAMPLES = [
    WebSocketError("a text"),
    InvalidURL("ws://user:secret@/", "no host"),
    HandshakeError("a text"),
    OpenTimeout(10, "tls"),
    ConnectionRejected(401, Headers([("Server", "x"), ("server", "y")]), b"secret"),
    ConnectionRejected(302, Headers([]), b"", "a redirect", "Found", "HTTP status 302 Found"),
    InvalidResponse("a text"),
    ProxyError("a text"),
    ProxyError("a text", 407),
    ProxyError("a text", 407, Headers([]), b"no", "Wants a password"),
    ConnectionClosed(GONE, ECHO, "a text"),
    ConnectionClosedOK(GONE, ECHO, "a text"),
    ClosedOnReceive(None, ECHO, "a text"),
    ClosedOnSend(GONE, None, "a text"),
    ConnectionClosedError(None, None, "a text"),
    UnexpectedMessage("a text", b"a message"),
    WebSocketInternalError("a text"),
]

PARENTS: dict[type[WebSocketError], tuple[type[BaseException], ...]] = {
    WebSocketError: (Exception,),
    InvalidURL: (WebSocketError, ValueError),
    HandshakeError: (WebSocketError,),
    OpenTimeout: (HandshakeError, trio.TooSlowError),
    ConnectionRejected: (HandshakeError,),
    InvalidResponse: (HandshakeError,),
    ProxyError: (HandshakeError,),
    ConnectionClosed: (WebSocketError,),
    ConnectionClosedOK: (ConnectionClosed,),
    ClosedOnReceive: (ConnectionClosedOK, trio.EndOfChannel),
    ClosedOnSend: (ConnectionClosedOK, trio.BrokenResourceError),
    ConnectionClosedError: (ConnectionClosed, trio.BrokenResourceError),
    UnexpectedMessage: (WebSocketError,),
    WebSocketInternalError: (WebSocketError,),
}


def name_of(value: object) -> str:
    return type(value).__name__


def test_tree_of_exceptions_is_this_one():
    classes = {
        value for _, value in inspect.getmembers(_errors, inspect.isclass)
        if value.__module__ == "trio_wsclient"
    }  # fmt: skip
    assert {cls: cls.__bases__ for cls in classes} == PARENTS


def test_all_exceptions_but_two_subclasses_are_public():
    public = {getattr(trio_wsclient, name) for name in trio_wsclient.__all__}
    assert set(PARENTS) - public == {ClosedOnReceive, ClosedOnSend}


def test_sender_gets_no_end_of_channel():
    # An EndOfChannel out of a send would end the caller's own loop without a word.
    assert not issubclass(ClosedOnSend, trio.EndOfChannel)
    assert not issubclass(ConnectionClosedError, trio.EndOfChannel)


def test_there_is_an_example_of_each_class():
    assert {type(example) for example in EXAMPLES} == set(PARENTS)


def outcome(exc: WebSocketError) -> tuple[object, ...]:
    return type(exc), str(exc), repr(exc), vars(exc), exc.args


@pytest.mark.parametrize("example", EXAMPLES, ids=name_of)
@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_exception_survives_pickling(example: WebSocketError, protocol: int):
    assert outcome(pickle.loads(pickle.dumps(example, protocol))) == outcome(example)


@pytest.mark.parametrize("example", EXAMPLES, ids=name_of)
def test_exception_can_be_copied(example: WebSocketError):
    assert outcome(copy.copy(example)) == outcome(example)
    assert outcome(copy.deepcopy(example)) == outcome(example)


@pytest.mark.parametrize("example", EXAMPLES, ids=name_of)
def test_exception_in_a_group_comes_out_of_a_pickle(example: WebSocketError):
    group = pickle.loads(pickle.dumps(ExceptionGroup("a group", [example])))
    assert outcome(group.exceptions[0]) == outcome(example)


def test_notes_come_out_of_a_pickle():
    exc = HandshakeError("a text")
    exc.add_note("a note")
    assert pickle.loads(pickle.dumps(exc)).__notes__ == ["a note"]


@pytest.mark.parametrize("example", EXAMPLES, ids=name_of)
def test_text_is_one_line_and_has_no_secret(example: WebSocketError):
    for text in (str(example), repr(example)):
        assert text.isprintable()
        assert "secret" not in text


@pytest.mark.parametrize(
    ("exc", "text"),
    [
        (InvalidURL("ws:///", "no host"), "invalid WebSocket URL: no host"),
        (OpenTimeout(10, "tls"), "not open after 10 s, in phase tls (TLS with the server)"),
        (
            OpenTimeout(0.5, "connect"),
            "not open after 0.5 s, in phase connect (name look-up or TCP)",
        ),
        (
            ConnectionRejected(503, Headers(), b""),
            "the server refused the WebSocket: HTTP status 503",
        ),
        (ProxyError("no tunnel", 407), "no tunnel"),
        (ConnectionClosedError(None, None, "no Close frame: reset"), "no Close frame: reset"),
    ],
    ids=name_of,
)
def test_text_is_one_sentence(exc: WebSocketError, text: str):
    assert str(exc) == text


def test_url_is_kept_beside_the_text():
    exc = InvalidURL("ws://user:secret@/", "no host")
    assert (exc.url, exc.problem) == ("ws://user:secret@/", "no host")


def test_timeout_has_its_seconds_and_phase():
    exc = OpenTimeout(0.5, "handshake")
    assert (exc.seconds, exc.phase) == (0.5, "handshake")


def test_rejection_has_the_whole_answer():
    headers = Headers([("Retry-After", "5")])
    exc = ConnectionRejected(503, headers, b"busy")
    assert (exc.status_code, exc.headers, exc.body) == (503, headers, b"busy")


def test_proxy_that_did_not_answer_has_no_status():
    assert ProxyError("a text").status_code is None
    assert ProxyError("a text", 407).status_code == 407


def test_code_and_reason_are_those_received():
    exc = ConnectionClosed(GONE, ECHO, "a text")
    assert (exc.received, exc.sent, exc.problem) == (GONE, ECHO, "a text")
    assert (exc.code, exc.reason) == (1001, "gone")


def test_without_a_close_the_code_is_1006_whatever_was_sent():
    exc = ConnectionClosedError(None, CloseFrame(1009, "too big"), "a text")
    assert (exc.code, exc.reason) == (1006, "")
    assert exc.sent == CloseFrame(1009, "too big")


@pytest.mark.parametrize("example", EXAMPLES, ids=name_of)
def test_each_exception_is_shown_by_a_public_name(example: WebSocketError):
    cls = type(example)
    public = getattr(trio_wsclient, cls.__qualname__)
    assert issubclass(cls, public)
    assert (cls.__module__, cls.__name__) == ("trio_wsclient", public.__name__)
    (line,) = traceback.format_exception_only(example)
    assert line.startswith(f"trio_wsclient.{public.__name__}: ")


@pytest.mark.parametrize("cls", [socks.UnreachableError, socks.AddressError])
def test_errors_of_socks_are_shown_as_proxy_errors(cls: type[ProxyError]):
    error = pickle.loads(pickle.dumps(cls("a text")))
    assert type(error) is cls
    assert traceback.format_exception_only(error) == ["trio_wsclient.ProxyError: a text\n"]
