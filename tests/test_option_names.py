"""A wrong name for an option leads to the right one."""

from __future__ import annotations

import pytest

from trio_wsclient import ClientOptions
from trio_wsclient._option_names import _IN_OTHER_LIBRARIES, unknown_option

KNOWN = [*ClientOptions.__annotations__]


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("additional_headers", "; use extra_headers"),
        ("max_size", "; use max_message_size"),
        ("ssl", "; use ssl_context"),
        ("resolver", "; use open_stream"),
        ("fingerprint", "; use check_tls"),
        ("ping_intervall", "; did you mean ping_interval?"),
        ("subprotocol", "; did you mean subprotocols?"),
        ("max_mesage_size", "; did you mean max_message_size?"),
        ("pingtimeout", "; did you mean ping_timeout?"),
        ("max_bufered", "; did you mean max_buffered_bytes?"),
        ("retry_delay", "; use reconnecting, which has this option"),
        ("x", "; see ClientOptions for all options"),
        ("", "; see ClientOptions for all options"),
        ("Proxy\n", "; did you mean proxy?"),
    ],
)
def test_right_name_is_in_the_error(name: str, advice: str):
    error = unknown_option(name, KNOWN)
    assert type(error) is TypeError
    assert str(error) == f"there is no option {name!r}{advice}"


@pytest.mark.parametrize("name", _IN_OTHER_LIBRARIES)
def test_names_in_other_libraries_are_none_of_ours(name: str):
    assert name not in KNOWN
    assert "; " in str(unknown_option(name, KNOWN))
