"""The options: their defaults, and that a wrong one is an error before any I/O."""

from __future__ import annotations

import inspect
import itertools
import logging
import math
import ssl
from decimal import Decimal

import pytest
import trio
import trio.testing
import truststore
import wsproto.extensions

import trio_wsclient
from trio_wsclient import (
    ClientOptions,
    PerMessageDeflate,
    Proxy,
    open_websocket_client,
    reconnecting,
    run_websocket_client,
)
from trio_wsclient._options import Options, make_options

USER_AGENT = ("User-Agent", f"trio-wsclient/{trio_wsclient.__version__}")

SECONDS = ["open_timeout", "close_timeout", "ping_interval", "ping_timeout"]
SIZES = ["max_message_size", "max_frame_size", "max_buffered_bytes", "fragment_size"]
NEVER_NONE = ["close_timeout", "max_buffered_bytes"]


def stream() -> trio.abc.Stream:
    return trio.testing.memory_stream_pair()[0]


def test_defaults_are_these():
    options = Options()
    assert {name: getattr(options, name) for name in ClientOptions.__annotations__} == {
        "open_timeout": 10,
        "close_timeout": 10,
        "ping_interval": None,
        "ping_timeout": 20,
        "max_message_size": 1024 * 1024,
        "max_frame_size": None,
        "max_buffered_bytes": 1024 * 1024,
        "decode_text": True,
        "fragment_size": None,
        "subprotocols": (),
        "extra_headers": (),
        "on_rejected": None,
        "origin": None,
        "user_agent": USER_AGENT[1],
        "compression": None,
        "extensions": (),
        "ssl_context": None,
        "server_hostname": None,
        "check_tls": None,
        "stream": None,
        "open_stream": None,
        "unix_socket": None,
        "proxy": None,
        "max_redirects": 0,
        "redirect_headers": None,
        "local_address": None,
        "observer": None,
        "logger": logging.getLogger("trio_wsclient"),
    }


def test_what_is_documented_is_what_there_is():
    assert [*ClientOptions.__annotations__] == [*Options.__annotations__]
    documented = inspect.getdoc(ClientOptions)
    assert documented is not None
    for name in ClientOptions.__annotations__:
        assert f"\n    {name}: " in documented


@pytest.mark.parametrize("open_it", [open_websocket_client, reconnecting])
@pytest.mark.parametrize("name", ["compress", "timeout", "Origin", ""])
def test_unknown_option_is_a_type_error(open_it, name: str):
    with pytest.raises(TypeError, match=f"^there is no option '{name}'"):
        open_it("ws://example.org/", **{name: None})


def test_options_of_reconnecting_may_be_misspelt_too():
    with pytest.raises(TypeError, match=r"did you mean reset_after\?"):
        reconnecting("ws://example.org/", reset_aftr=1)


@pytest.mark.parametrize("name", SECONDS)
@pytest.mark.parametrize("value", [1, 0.001, 86400.0, 10**12])
def test_timeout_is_a_positive_number(name: str, value: float):
    assert getattr(Options(**{name: value}), name) == value


@pytest.mark.parametrize("name", SECONDS)
@pytest.mark.parametrize("value", [0, 0.0, -1, -0.5, -math.inf, math.nan])
def test_timeout_out_of_range_is_a_value_error(name: str, value: float):
    with pytest.raises(ValueError, match=f"{name} has to be a positive number of seconds"):
        Options(**{name: value})


@pytest.mark.parametrize("name", SECONDS)
@pytest.mark.parametrize("value", ["10", True, False, b"1", Decimal(1), 1j, (1,)])
def test_timeout_that_is_no_number_is_a_type_error(name: str, value: object):
    with pytest.raises(TypeError, match=f"{name} has to be a number of seconds"):
        Options(**{name: value})


@pytest.mark.parametrize("name", SIZES)
@pytest.mark.parametrize("value", [1, 2**63])
def test_size_is_a_positive_number(name: str, value: int):
    assert getattr(Options(**{name: value}), name) == value


@pytest.mark.parametrize("name", SIZES)
@pytest.mark.parametrize("value", [0, -1])
def test_size_out_of_range_is_a_value_error(name: str, value: int):
    with pytest.raises(ValueError, match=f"{name} has to be at least 1 byte"):
        Options(**{name: value})


@pytest.mark.parametrize("name", SIZES)
@pytest.mark.parametrize("value", ["1", 1.0, True, b"1", math.inf])
def test_size_that_is_no_int_is_a_type_error(name: str, value: object):
    with pytest.raises(TypeError, match=f"{name} has to be a number of bytes"):
        Options(**{name: value})


@pytest.mark.parametrize("name", sorted({*SECONDS, *SIZES} - {*NEVER_NONE}))
def test_none_switches_a_limit_off(name: str):
    assert getattr(Options(**{name: None}), name) is None


@pytest.mark.parametrize("name", sorted({*SECONDS} - {*NEVER_NONE}))
def test_infinite_timeout_means_none(name: str):
    assert getattr(Options(**{name: math.inf}), name) is None


def test_close_timeout_is_never_infinite():
    with pytest.raises(ValueError, match=r"close_timeout has to be .*, not inf"):
        Options(close_timeout=math.inf)


@pytest.mark.parametrize("name", NEVER_NONE)
def test_what_makes_leaving_and_buffering_bounded_is_never_none(name: str):
    with pytest.raises(TypeError, match=f"{name} has to be a number .* not NoneType"):
        Options(**{name: None})


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("decode_text", 1, "bool"),
        ("decode_text", None, "bool"),
        ("origin", b"http://example.org", "str or None"),
        ("user_agent", 1, "str or None"),
        ("server_hostname", b"example.org", "str or None"),
        ("local_address", ("127.0.0.1", 0), "str or None"),
        ("ssl_context", True, "an ssl.SSLContext or None"),
        ("ssl_context", ssl.SSLContext, "an ssl.SSLContext or None"),
        ("stream", object(), "a trio.abc.Stream or None"),
        ("compression", True, "'deflate', a PerMessageDeflate or None"),
        ("unix_socket", b"/run/x", "str or os.PathLike or None"),
        ("proxy", b"http://x", "a URL, a Proxy, 'environment' or None"),
        ("logger", "trio_wsclient", "a logging.Logger"),
        ("logger", None, "a logging.Logger"),
    ],
)
def test_option_of_another_type_is_a_type_error(name: str, value: object, expected: str):
    with pytest.raises(TypeError, match=f"{name} has to be {expected}, not "):
        Options(**{name: value})


def test_objects_are_taken_as_they_are():
    context = ssl.create_default_context()
    ours = stream()
    logger = logging.getLogger("mine")
    options = Options(ssl_context=context, stream=ours, logger=logger, server_hostname="a")
    assert (options.ssl_context, options.stream, options.logger) == (context, ours, logger)
    assert options.server_hostname == "a"


@pytest.mark.parametrize("value", ["gzip", "", "Deflate"])
def test_another_compression_is_a_value_error(value: str):
    with pytest.raises(ValueError, match="compression has to be 'deflate'"):
        Options(compression=value)


def test_compression_by_name_has_the_default_parameters():
    assert Options(compression="deflate").deflate == PerMessageDeflate()
    assert Options(compression=PerMessageDeflate(min_size=0)).deflate == PerMessageDeflate(
        min_size=0
    )
    assert Options().deflate is None


@pytest.mark.parametrize("value", ["1", 1.0, True, None])
def test_number_of_redirects_is_an_int(value: object):
    with pytest.raises(TypeError, match="max_redirects"):
        Options(max_redirects=value)


def test_number_of_redirects_is_not_negative():
    with pytest.raises(ValueError, match="max_redirects"):
        Options(max_redirects=-1)


FUNCTIONS = ["redirect_headers", "check_tls", "open_stream", "on_rejected"]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_option_that_has_to_be_a_function_is_one(name: str):
    text = f"^{name} has to be None or an? .*function that takes .*, not dict$"
    with pytest.raises(TypeError, match=text):
        Options(**{name: {"X-A": "1"}})


@pytest.mark.parametrize("name", FUNCTIONS)
def test_coroutine_object_for_an_option_is_a_type_error(name: str):
    async def make() -> None:
        pytest.fail("it runs")

    with pytest.raises(TypeError) as caught:
        Options(**{name: make()})
    assert str(caught.value) == f"{name} has to be a function: pass 'make', not 'make(...)'"


@pytest.mark.parametrize("value", ["", "example.org:80", "ftp://example.org", "http://"])
def test_proxy_that_is_no_proxy_url_is_a_value_error(value: str):
    with pytest.raises(ValueError, match="proxy"):
        Options(proxy=value)


def test_proxy_is_a_url_or_the_environments_or_an_object():
    assert Options(proxy="http://example.org:3128").proxy == Proxy("http://example.org:3128")
    assert Options(proxy="environment").proxy == "environment"
    proxy = Proxy("socks5h://example.org")
    assert Options(proxy=proxy).proxy is proxy


ROUTES = {
    "stream": stream,
    "open_stream": lambda: trio.open_tcp_stream,
    "unix_socket": lambda: "/run/x",
    "proxy": lambda: "environment",
}


@pytest.mark.parametrize(("one", "two"), [*itertools.combinations(ROUTES, 2)])
def test_there_is_one_way_to_connect(one: str, two: str):
    with pytest.raises(ValueError, match=f"{one} and {two} are different ways"):
        Options(**{one: ROUTES[one](), two: ROUTES[two]()})


@pytest.mark.parametrize("name", ["stream", "open_stream", "unix_socket"])
def test_local_address_is_only_for_tcp_of_our_own(name: str):
    with pytest.raises(ValueError, match=f"local_address has no meaning with {name}"):
        Options(**{name: ROUTES[name]()}, local_address="127.0.0.1")


def test_proxy_may_be_reached_from_a_local_address():
    assert Options(proxy="http://x", local_address="127.0.0.1").local_address == "127.0.0.1"


def test_extensions_are_wsprotos_and_frozen():
    extension = wsproto.extensions.PerMessageDeflate()
    extensions = [extension]
    options = Options(extensions=extensions)
    extensions.clear()
    assert options.extensions == (extension,)
    with pytest.raises(
        TypeError, match=r"extensions has to be a sequence of wsproto.*, but has a str"
    ):
        Options(extensions=["permessage-deflate"])
    with pytest.raises(ValueError, match="twice"):
        Options(extensions=[extension, extension])
    with pytest.raises(TypeError, match=r"extensions has to be a sequence .*, not NoneType"):
        Options(extensions=None)


def test_headers_of_a_redirects_callback_go_before_those_of_options():
    options = Options(origin="null", extra_headers={"X-A": "1"})
    assert options.headers_with(()) == (("Origin", "null"), USER_AGENT)
    assert options.headers_with((("origin", "x"),)) == (USER_AGENT, ("origin", "x"))


@pytest.mark.parametrize("value", ["127.0.0.1", "::1", "fe80::1%eth0"])
def test_local_address_is_an_ip_address(value: str):
    assert Options(local_address=value).local_address == value


@pytest.mark.parametrize("value", ["", "localhost", "127.0.0.1:80", "[::1]", "\0"])
def test_local_address_that_is_none_is_a_value_error(value: str):
    with pytest.raises(ValueError, match="does not appear to be an IPv4 or IPv6 address"):
        Options(local_address=value)


@pytest.mark.parametrize("value", ["bücher.example", "example.org\0", "example.org\n", "\ud800"])
def test_server_hostname_that_no_certificate_names_is_a_value_error(value: str):
    with pytest.raises(ValueError, match="A-label"):
        Options(server_hostname=value)


@pytest.mark.parametrize("value", ["", ".", ".example", "a..example", "a" * 64])
def test_server_hostname_that_ssl_refuses_is_a_value_error(value: str):
    with pytest.raises(ValueError, match="server_hostname has to be a name that a certificate can"):
        Options(server_hostname=value)


@pytest.mark.parametrize("value", ["a", "a.example.", "a_b.example", "127.0.0.1", "::1"])
def test_server_hostname_that_ssl_takes_is_taken(value: str):
    assert Options(server_hostname=value).server_hostname == value


def test_options_are_kept_from_later_changes():
    subprotocols = ["chat"]
    extra_headers = {"X-A": "1"}
    options = Options(subprotocols=subprotocols, extra_headers=extra_headers, user_agent=None)
    subprotocols.append("more")
    extra_headers["X-A"] = "2"
    assert options.subprotocols == ("chat",)
    assert options.headers == (("X-A", "1"),)


@pytest.mark.parametrize("value", ["x\r\nEvil: 1", "ü", " x"])
def test_user_agent_is_checked_even_if_a_header_replaces_it(value: str):
    with pytest.raises(ValueError, match="User-Agent"):  # A proxy would see it.
        Options(user_agent=value, extra_headers={"User-Agent": "mine"}, proxy="http://x")


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ("chat", r"^subprotocols has to be a list: pass \['chat'\]$"),
        ([b"chat"], "but it contains bytes"),
        ([None], "but it contains NoneType"),
        (5, "not int"),
        (None, "not NoneType"),
    ],
)
def test_subprotocols_of_another_type_are_a_type_error(value: object, problem: str):
    with pytest.raises(TypeError, match=problem):
        Options(subprotocols=value)


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ([""], "^subprotocols: item 0 can't be offered: "),
        (["a b"], "^subprotocols: item 0 can't be offered: "),
        (["a,b"], "^subprotocols: item 0 can't be offered: "),
        (["a\r\nEvil: 1"], "^subprotocols: item 0 can't be offered: "),
        (["ä"], "^subprotocols: item 0 can't be offered: "),
        (["a", "b", "a"], "^subprotocols has 'a' twice$"),
    ],
)
def test_subprotocols_that_can_not_be_offered_are_a_value_error(value: list[str], problem: str):
    with pytest.raises(ValueError, match=problem):
        Options(subprotocols=value)


@pytest.mark.parametrize(
    "extra_headers",
    [
        {"X-A": "1", "X-B": "2"},
        [("X-A", "1"), ("X-B", "2")],
        [["X-A", "1"], ["X-B", "2"]],
        trio_wsclient.Headers([("X-A", "1"), ("X-B", "2")]),
    ],
)
def test_extra_headers_are_a_mapping_or_pairs(extra_headers):
    names = [(name.title(), value) for name, value in Options(extra_headers=extra_headers).headers]
    assert names == [USER_AGENT, ("X-A", "1"), ("X-B", "2")]


def test_extra_headers_may_come_from_an_iterator():
    pairs = iter([("X-A", "1"), ("X-B", "2")])
    assert Options(extra_headers=pairs, user_agent=None).headers == (("X-A", "1"), ("X-B", "2"))


def test_header_may_stand_there_twice():
    cookies = [("Cookie", "a=1"), ("Cookie", "b=2")]
    assert Options(extra_headers=cookies, user_agent=None).headers == tuple(cookies)


@pytest.mark.parametrize(
    ("extra_headers", "problem"),
    [
        ("Cookie: a", " has to be a mapping or pairs of str, not str"),
        (b"Cookie: a", " has to be a mapping or pairs of str, not bytes"),
        (5, " has to be a mapping or pairs of str, not int"),
        (None, " has to be a mapping or pairs of str, not NoneType"),
        (["ab"], " has to be a mapping or pairs of str, but has a str"),
        (
            [("Cookie", "a", "b")],
            " has to be a mapping or pairs of str, but has a tuple of length 3",
        ),
        ([("Cookie",)], " has to be a mapping or pairs of str, but has a tuple of length 1"),
        ([None], " has to be a mapping or pairs of str, but has a NoneType"),
        ([("Cookie", b"a")], ": the value of header 'Cookie' has to be str, not bytes"),
        ([("Cookie", None)], ": the value of header 'Cookie' has to be str, not NoneType"),
        ({"Cookie": ["a", "b"]}, ": the value of header 'Cookie' has to be str, not list"),
        ([(b"Cookie", "a")], ": the name of a header has to be str, not bytes"),
        ({1: "a"}, ": the name of a header has to be str, not int"),
    ],
)
def test_extra_headers_of_another_type_are_a_type_error(extra_headers: object, problem: str):
    with pytest.raises(TypeError) as caught:
        Options(extra_headers=extra_headers)
    assert str(caught.value) == f"extra_headers{problem}"


@pytest.mark.parametrize("value", [b"Bearer secret", ["Bearer secret"]])
def test_error_of_a_header_does_not_show_its_value(value: object):
    with pytest.raises(TypeError) as caught:
        Options(extra_headers={"Authorization": value})
    assert str(caught.value) == (
        "extra_headers: the value of header 'Authorization' has to be str, "
        f"not {type(value).__name__}"
    )


@pytest.mark.parametrize(
    "name",
    [
        "Host",
        "CONNECTION",
        "upgrade",
        "Content-Length",
        "Transfer-Encoding",
        "Sec-WebSocket-Accept",
        "Sec-WebSocket-Extensions",
        "sec-websocket-key",
        "Sec-WebSocket-Protocol",
        "Sec-WebSocket-Version",
    ],
)
def test_header_of_the_handshake_itself_can_not_be_overridden(name: str):
    with pytest.raises(ValueError, match=f"'{name}' can't be set: "):
        Options(extra_headers={name: "x"})


@pytest.mark.parametrize(
    "pair",
    [
        ("X A", "1"),
        ("", "1"),
        ("X:", "1"),
        ("X-A\r\nEvil", "1"),
        ("X-A", "1\r\nEvil: 1"),
        ("X-A", "1\n"),
        ("X-A", "\0"),
        ("X-A", "é"),
    ],
)
def test_header_that_can_not_be_sent_is_a_value_error(pair: tuple[str, str]):
    with pytest.raises(ValueError, match="header"):
        Options(extra_headers=[pair])


@pytest.mark.parametrize("name", ["origin", "user_agent"])
def test_headers_of_options_are_checked_too(name: str):
    with pytest.raises(ValueError, match="can't be sent: at index"):
        Options(**{name: "x\r\nEvil: 1"})


def test_origin_is_sent_only_on_request():
    assert Options().headers == (USER_AGENT,)
    assert Options(origin="http://example.org").headers == (
        ("Origin", "http://example.org"),
        USER_AGENT,
    )
    assert Options(extra_headers={"origin": "null"}).headers == (USER_AGENT, ("origin", "null"))


def test_origin_stands_in_one_place():
    with pytest.raises(ValueError, match="both have an Origin"):
        Options(origin="a", extra_headers={"ORIGIN": "b"})


def test_user_agent_can_be_replaced_or_left_out():
    assert Options(user_agent="mine").headers == (("User-Agent", "mine"),)
    assert Options(extra_headers={"user-agent": "mine"}).headers == (("user-agent", "mine"),)
    assert Options(user_agent=None).headers == ()


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"close_timeout": None}, TypeError),
        ({"close_timeout": 0}, ValueError),
        ({"unknown": 1}, TypeError),
        ({"extra_headers": {"Host": "x"}}, ValueError),
    ],
)
def test_opening_call_raises_for_a_wrong_option(options, error: type[Exception]):
    with pytest.raises(error):
        open_websocket_client("ws://example.org/", **options)


async def test_wrong_option_raises_before_any_io():
    ours = stream()
    with pytest.raises(ValueError, match="ping_timeout"):
        await run_websocket_client("ws://example.org/", print, stream=ours, ping_timeout=-1)
    await ours.send_all(b"still open")


@pytest.mark.parametrize(
    "options",
    [{"ssl_context": ssl.create_default_context()}, {"server_hostname": "a"}, {"check_tls": print}],
)
def test_e39_options_for_tls_need_a_connection_with_tls(options: dict[str, object]):
    (name,) = options
    for open_it in (open_websocket_client, reconnecting):
        with pytest.raises(ValueError, match=f"{name} has no effect with a ws or http URL"):
            open_it("ws://example.org/", **options)
        with pytest.raises(ValueError, match=f"{name} has no effect"):
            open_it("http://example.org/", **options)
        open_it("wss://example.org/", **options)
        # A redirect may lead to wss, which is another origin.
        if name == "server_hostname":
            with pytest.raises(ValueError, match="server_hostname has no effect"):
                open_it("ws://example.org/", max_redirects=1, **options)
        else:
            open_it("ws://example.org/", max_redirects=1, **options)


@pytest.fixture
def _injected():
    truststore.inject_into_ssl()
    yield
    truststore.extract_from_ssl()


BEFORE = ssl.create_default_context()


@pytest.mark.usefixtures("_injected")
def test_contexts_from_before_and_after_truststore_injects_itself_are_taken():
    after = ssl.create_default_context()
    assert not isinstance(BEFORE, ssl.SSLContext)
    for context in (BEFORE, after):
        assert Options(ssl_context=context).ssl_context is context
        assert Proxy("https://proxy.example", ssl_context=context).ssl_context is context


def test_connections_without_options_share_the_defaults():
    assert make_options({}) is make_options({})
    assert vars(make_options({})) == {}
