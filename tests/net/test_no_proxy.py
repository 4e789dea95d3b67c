"""For which hosts ``no_proxy`` asks for no proxy; the other variables are in a module beside."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_wsclient._net.no_proxy import bypasses

# no_proxy, host, port, and whether it is bypassed
ALL_HOSTS = [
    ("*", "example.org", 80, True),
    ("*", "127.0.0.1", 80, True),
    ("*", "::1", 80, True),
    ("example.com,*", "example.org", 80, True),
    ("**", "example.org", 80, False),
    ("", "example.org", 80, False),
    (" , ,, ", "example.org", 80, False),
]
DOMAINS = [
    ("example.org", "example.org", 80, True),
    ("example.org", "www.example.org", 80, True),
    ("example.org", "a.b.example.org", 80, True),
    ("ample.org", "example.org", 80, False),  # not on the border of a label
    ("ple.org", "example.org", 80, False),
    ("example.org", "badexample.org", 80, False),
    ("example.org", "example.org.evil", 80, False),
    ("example.org", "example.com", 80, False),
    ("www.example.org", "example.org", 80, False),
    ("org", "example.org", 80, True),
    ("rg", "example.org", 80, False),
    (".example.org", "example.org", 80, True),
    (".example.org", "www.example.org", 80, True),
    (".ample.org", "example.org", 80, False),
    ("*.example.org", "example.org", 80, True),
    ("*.example.org", "www.example.org", 80, True),
    ("*.ample.org", "example.org", 80, False),
    ("EXAMPLE.Org", "example.org", 80, True),
    ("example.org.", "example.org", 80, True),
    ("example.org", "example.org.", 80, True),
    ("example.org.", "www.example.org.", 80, True),
    (".example.org.", "www.example.org", 80, True),
    ("localhost", "localhost", 80, True),
    ("localhost", "www.localhost", 80, True),
    ("a_b.example", "a_b.example", 80, True),
    ("bücher.example", "xn--bcher-kva.example", 80, True),
    ("xn--bcher-kva.example", "xn--bcher-kva.example", 80, True),
    ("*.bücher.example", "www.xn--bcher-kva.example", 80, True),
]
SEVERAL = [
    ("example.com,example.org", "example.org", 80, True),
    ("example.com, example.org", "example.org", 80, True),
    (" example.com ,\texample.org\n", "example.org", 80, True),
    ("example.com example.org", "example.org", 80, True),
    (",,example.org,,", "example.org", 80, True),
    ("example.com,example.net", "example.org", 80, False),
    ("::g,[,example.org", "example.org", 80, True),  # What is none of these is for no host.
]
PORTS = [
    ("example.org:8080", "example.org", 8080, True),
    ("example.org:8080", "example.org", 80, False),
    ("example.org:8080", "www.example.org", 8080, True),
    (".example.org:8080", "www.example.org", 8080, True),
    ("*.example.org:8080", "www.example.org", 8080, True),
    ("*.example.org:8080", "www.example.org", 80, False),
    ("example.org.:8080", "example.org", 8080, True),
    ("example.org:08080", "example.org", 8080, True),
    ("example.org:", "example.org", 8080, True),
    ("example.org:80,example.org:8080", "example.org", 8080, True),
    ("127.0.0.1:80", "127.0.0.1", 80, True),
    ("127.0.0.1:80", "127.0.0.1", 8080, False),
    ("[::1]:80", "::1", 80, True),
    ("[::1]:80", "::1", 8080, False),
    ("[::1]:", "::1", 8080, True),
    ("*:8080", "example.org", 8080, True),
    ("*:8080", "example.org", 80, False),
    ("10.0.0.0/8:8080", "10.1.1.1", 8080, True),
    ("10.0.0.0/8:8080", "10.1.1.1", 80, False),
    ("[fd00::]/8:8080", "fd00::1", 8080, True),
    ("[fd00::]/8:8080", "fd00::1", 80, False),
]
ADDRESSES = [
    ("127.0.0.1", "127.0.0.1", 80, True),
    ("127.0.0.1", "127.0.0.11", 80, False),
    ("127.0.0.1", "27.0.0.1", 80, False),
    ("7.0.0.1", "127.0.0.1", 80, False),
    ("0.0.1", "127.0.0.1", 80, False),  # An address is no domain of others.
    (".0.0.1", "127.0.0.1", 80, False),
    ("1", "127.0.0.1", 80, False),
    ("127", "127.0.0.1", 80, False),
    ("127.0.0.1", "a.127.0.0.1", 80, False),
    ("127.0.0.1", "localhost", 80, False),  # Names are not resolved.
    ("localhost", "127.0.0.1", 80, False),
    ("::1", "::1", 80, True),
    ("[::1]", "::1", 80, True),
    ("0:0:0:0:0:0:0:1", "::1", 80, True),
    ("[0:0::1]", "::1", 80, True),
    ("2001:DB8::1", "2001:db8::1", 80, True),
    ("2001:db8::1", "2001:db8::2", 80, False),
    ("[2001:db8::1]", "2001:db8::2", 80, False),
    ("::1", "example.org", 80, False),
    ("127.0.0.1", "::ffff:127.0.0.1", 80, False),
    ("::", "::1", 80, False),
    ("0.0.0.0", "127.0.0.1", 80, False),
]
NETWORKS = [
    ("10.0.0.0/8", "10.255.0.1", 80, True),
    ("10.0.0.0/8", "11.0.0.1", 80, False),
    ("10.1.2.3/8", "10.255.0.1", 80, True),
    ("10.0.0.0/255.0.0.0", "10.255.0.1", 80, True),
    ("192.168.1.0/25", "192.168.1.127", 80, True),
    ("192.168.1.0/25", "192.168.1.128", 80, False),
    ("127.0.0.1/32", "127.0.0.1", 80, True),
    ("0.0.0.0/0", "192.0.2.1", 80, True),
    ("0.0.0.0/0", "::1", 80, False),
    ("0.0.0.0/0", "example.org", 80, False),
    ("::/0", "::1", 80, True),
    ("::/0", "192.0.2.1", 80, False),
    ("fd00::/8", "fd12:3456::1", 80, True),
    ("fd00::/8", "fe80::1", 80, False),
    ("[fd00::]/8", "fd12:3456::1", 80, True),
    ("[fd00::/8]", "fd12:3456::1", 80, True),
    ("fd00::/8", "fd.example", 80, False),
    ("10.0.0.0/8", "10.example", 80, False),
]
GARBAGE = [
    (entry, host, 80, False)
    for entry in (
        *(".", "..", "*.", "*.*", "*.*.org", "*example.org", "example.*", "..example.org"),
        *("example..org", "http://example.org", "example.org/", "/", "/8", "10.0.0.0/33", "::/129"),
        *("10.0.0.0/8/8", "10/8", "10.0.0.0/", "fd00::/x", "example.org/8", "[", "]", "[]", "[::1"),
        *("::1]", "[::1]x", "[::1%eth0]", ":", ":80", "::g", "example.org:http"),
        *("example.org:0", "example.org:65536", "example.org:80:80", "user@example.org"),
        *("☃.org", "\ud800", "\0", "a" * 300, "1.2.3.4.5", "256.0.0.1"),
        *("example.org;example.org", "-", "_", "!", "%2a"),
    )
    for host in ("example.org", "10.0.0.1")
]


@pytest.mark.parametrize(
    ("no_proxy", "host", "port", "expected"),
    [*ALL_HOSTS, *DOMAINS, *SEVERAL, *PORTS, *ADDRESSES, *NETWORKS, *GARBAGE],
)
def test_host_is_bypassed_if_an_entry_is_for_it(
    no_proxy: str, host: str, port: int, expected: bool
):
    assert bypasses(no_proxy, host, port) is expected


@pytest.mark.parametrize("entry", sorted({entry for entry, *_ in GARBAGE}))
def test_garbage_does_not_hide_the_entries_beside_it(entry: str):
    assert bypasses(f"{entry},example.org", "example.org", 80)
    assert bypasses(f"example.org {entry}", "example.org", 80)


@given(st.text(st.sampled_from("a.*:/[]%-0189,\u00fc \ud800"), max_size=15))
def test_no_text_is_an_error(no_proxy: str):
    for host in ("a.a", "1.1.1.1", "::1"):
        assert bypasses(no_proxy, host, 80) in {True, False}
