"""Which proxy the environment asks for; the entries of ``no_proxy`` are in ``test_no_proxy``."""

from __future__ import annotations

import sys

import pytest
from proxy_variables import set_proxy_variables
from shown import shown_of

from trio_wsclient import HandshakeError, Proxy, ProxyError
from trio_wsclient._net.no_proxy import proxy_from_environment

cases_differ = pytest.mark.skipif(
    sys.platform == "win32", reason="names of variables have no case there"
)


@pytest.fixture
def asked(monkeypatch):
    """Return a function that sets the variables and says which proxy they ask for."""

    def ask(scheme: str, host: str = "example.org", **variables: str) -> str | None:
        set_proxy_variables(monkeypatch, **variables)
        secure = scheme == "wss"
        proxy = proxy_from_environment(secure=secure, host=host, port=443 if secure else 80)
        return None if proxy is None else str(proxy)

    return ask


HTTP, HTTPS, ALL = "http://http.example:1", "http://https.example:2", "socks5h://all.example:3"
WS, WSS, SOCKS = "http://ws.example:4", "http://wss.example:5", "socks5h://socks.example:6"
OTHERS = {"http_proxy": HTTP, "https_proxy": HTTPS, "socks_proxy": SOCKS, "all_proxy": ALL}
ORDERS = {
    "no variable": ({}, None, None),
    "http": ({"http_proxy": HTTP}, HTTP, HTTP),
    "https": ({"https_proxy": HTTPS}, None, HTTPS),
    "all": ({"all_proxy": ALL}, ALL, ALL),
    "http and https": ({"http_proxy": HTTP, "https_proxy": HTTPS}, HTTP, HTTPS),
    "http and all": ({"http_proxy": HTTP, "all_proxy": ALL}, HTTP, HTTP),
    "https and all": ({"https_proxy": HTTPS, "all_proxy": ALL}, ALL, HTTPS),
    "all three": ({"http_proxy": HTTP, "https_proxy": HTTPS, "all_proxy": ALL}, HTTP, HTTPS),
    "capitals": ({"HTTP_PROXY": HTTP, "HTTPS_PROXY": HTTPS}, HTTP, HTTPS),
    "all in capitals": ({"ALL_PROXY": ALL}, ALL, ALL),
    "an empty one": ({"http_proxy": ""}, None, None),
    "empty ones": ({"http_proxy": "", "https_proxy": "", "all_proxy": ""}, None, None),
    "an empty one before others": (
        {"https_proxy": "", "http_proxy": HTTP, "all_proxy": ALL},
        HTTP,
        None,
    ),
    "an empty one before all": ({"http_proxy": "", "all_proxy": ALL}, None, None),
    "ws": ({"ws_proxy": WS}, WS, None),
    "wss": ({"wss_proxy": WSS}, None, WSS),
    "ws before the others": ({"ws_proxy": WS, "wss_proxy": WSS, **OTHERS}, WS, WSS),
    "ws in capitals": ({"WS_PROXY": WS, "WSS_PROXY": WSS, **OTHERS}, WS, WSS),
    "an empty ws": ({"ws_proxy": "", "wss_proxy": "", **OTHERS}, None, None),
    "socks": ({"socks_proxy": SOCKS}, SOCKS, SOCKS),
    "socks before all": ({"socks_proxy": SOCKS, "all_proxy": ALL}, SOCKS, SOCKS),
    "http before socks": ({"socks_proxy": SOCKS, "http_proxy": HTTP}, HTTP, HTTP),
    "https before socks": ({"socks_proxy": SOCKS, "https_proxy": HTTPS}, SOCKS, HTTPS),
    "an empty socks before all": ({"socks_proxy": "", "all_proxy": ALL}, None, None),
    "other ones": ({"ftp_proxy": HTTP, "smtp_proxy": HTTP}, None, None),
}


@pytest.mark.parametrize(("variables", "ws", "wss"), ORDERS.values(), ids=ORDERS)
def test_variables_of_a_scheme_are_asked_in_this_order(
    asked, variables: dict[str, str], ws: str | None, wss: str | None
):
    assert asked("ws", **variables) == ws
    assert asked("wss", **variables) == wss


@cases_differ
@pytest.mark.parametrize(
    "name", ["wss_proxy", "https_proxy", "http_proxy", "socks_proxy", "all_proxy"]
)
def test_lower_case_goes_before_capitals(asked, name: str):
    assert asked("wss", **{name: SOCKS, name.upper(): ALL}) == SOCKS
    assert asked("wss", **{name.upper(): ALL, name: SOCKS}) == SOCKS
    assert asked("wss", **{name.upper(): ALL, name: ""}) is None


@cases_differ
def test_http_proxy_in_capitals_is_ignored_under_cgi(asked):
    cgi = {"REQUEST_METHOD": "GET", "HTTP_PROXY": "http://evil.example"}
    assert asked("ws", **cgi) is None
    assert asked("wss", **cgi) is None
    assert asked("ws", **cgi, http_proxy=HTTP) == HTTP
    assert asked("wss", **cgi, HTTPS_PROXY=HTTPS) == HTTPS
    assert asked("ws", **cgi, ALL_PROXY=ALL) == ALL


@pytest.mark.parametrize(
    ("value", "proxy"),
    [
        ("proxy.example:3128", "http://proxy.example:3128"),
        ("proxy.example", "http://proxy.example:80"),
        ("[::1]:3128", "http://[::1]:3128"),
        ("name:password@proxy.example:3128", "http://proxy.example:3128"),
        ("HTTPS://proxy.example/", "https://proxy.example:443"),
        ("socks5://proxy.example", "socks5://proxy.example:1080"),
    ],
)
def test_value_is_a_url_or_what_stands_behind_http(asked, value: str, proxy: str):
    for scheme in ("ws", "wss"):
        assert asked(scheme, http_proxy=value) == proxy


@pytest.mark.parametrize(
    ("value", "proxy"),
    [
        ("proxy.example", "socks5h://proxy.example:1080"),
        ("proxy.example:1", "socks5h://proxy.example:1"),
        ("http://proxy.example:1", "socks5h://proxy.example:1"),  # as the settings of macOS
        ("socks://proxy.example", "socks5h://proxy.example:1080"),
        ("socks5://proxy.example", "socks5://proxy.example:1080"),
        ("https://proxy.example", "https://proxy.example:443"),
    ],
)
def test_value_of_socks_proxy_names_a_socks_proxy(asked, value: str, proxy: str):
    for scheme in ("ws", "wss"):
        assert asked(scheme, socks_proxy=value) == proxy


def test_value_is_taken_with_its_credentials(monkeypatch):
    set_proxy_variables(monkeypatch, https_proxy="name:pass%40word@proxy.example:3128")
    proxy = proxy_from_environment(secure=True, host="example.org", port=443)
    assert proxy == Proxy("http://name:pass%40word@proxy.example:3128")
    assert proxy.credentials == (b"name", b"pass@word")


MALFORMED = {
    "a space": " http://name:s3cret@proxy.example",
    "another scheme": "ftp://name:s3cret@proxy.example",
    "SOCKS 4": "socks4://name:s3cret@proxy.example",
    "an empty scheme": "://name:s3cret@proxy.example",
    "no scheme": "//name:s3cret@proxy.example",
    "no host": "name:s3cret@",
    "no port": "http://name:s3cret@proxy.example:http",
    "a port too high": "name:s3cret@proxy.example:65536",
    "a path": "http://name:s3cret@proxy.example/s3cret",
    "a slash in the password": "http://name:s3/s3cret@proxy.example",
    "IPv6 without brackets": "name:s3cret@::1",
    "not IPv6": "http://name:s3cret@[s3cret]",
    "too long for SOCKS": f"socks5://name:{'s3cret' * 50}@proxy.example",
    "white space alone": " ",
}


@pytest.mark.parametrize("value", MALFORMED.values(), ids=MALFORMED)
@pytest.mark.parametrize(
    ("scheme", "name"),
    [
        *(("ws", name) for name in ("ws", "http", "socks", "all")),
        *(("wss", name) for name in ("wss", "https", "http", "socks", "all")),
    ],
)
def test_malformed_value_error_names_the_variable_without_the_value(
    asked, scheme: str, name: str, value: str
):
    with pytest.raises(ProxyError, match=f"^the variable {name}_proxy: invalid proxy URL: ") as e:
        asked(scheme, **{f"{name}_proxy": value})
    assert isinstance(e.value, HandshakeError)
    assert e.value.status_code is None
    assert "s3cret" not in shown_of(e.value)


def test_malformed_value_of_another_scheme_does_no_harm(asked):
    assert asked("ws", https_proxy="!", all_proxy="!", http_proxy=HTTP) == HTTP
    assert asked("wss", https_proxy=HTTPS, http_proxy="!", all_proxy="!") == HTTPS


@pytest.mark.parametrize("name", ["no_proxy", "NO_PROXY"])
def test_to_a_host_of_no_proxy_there_is_none(asked, name: str):
    variables = {"http_proxy": HTTP, "https_proxy": HTTPS, name: "example.org, 10.0.0.0/8"}
    for scheme, proxy in (("ws", HTTP), ("wss", HTTPS)):
        assert asked(scheme, "example.org", **variables) is None
        assert asked(scheme, "www.example.org", **variables) is None
        assert asked(scheme, "10.1.2.3", **variables) is None
        assert asked(scheme, "example.com", **variables) == proxy


def test_no_proxy_port_is_the_servers(asked):
    variables = {"http_proxy": HTTP, "https_proxy": HTTPS, "no_proxy": "example.org:443"}
    assert asked("ws", **variables) == HTTP
    assert asked("wss", **variables) is None


@cases_differ
def test_no_proxy_in_lower_case_goes_before_capitals(asked):
    variables = {"http_proxy": HTTP, "NO_PROXY": "example.org"}
    assert asked("ws", **variables, no_proxy="example.com") == HTTP
    assert asked("ws", **variables, no_proxy="") == HTTP


def test_malformed_proxy_is_ignored_for_a_no_proxy_host(asked):
    assert asked("ws", http_proxy="!", no_proxy="example.org") is None


def test_localhost_is_a_host_like_any_other(asked):
    for host in ("localhost", "127.0.0.1", "::1"):
        assert asked("ws", host, http_proxy=HTTP) == HTTP
        assert asked("ws", host, http_proxy=HTTP, no_proxy="localhost,127.0.0.0/8,::1") is None
