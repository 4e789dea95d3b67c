"""permessage-deflate in the opening handshake (RFC 7692 §7.1): the offer, and answers to it."""

from __future__ import annotations

from typing import NamedTuple

import pytest
from handshake_tables import complete, switching, upgrade

from trio_wsclient import InvalidResponse, PerMessageDeflate
from trio_wsclient._http.upgrade import HTTP11Upgrade
from trio_wsclient._protocol.deflate import Deflate
from trio_wsclient._protocol.limits import Limits

DEFAULT = PerMessageDeflate()
ALL = PerMessageDeflate(
    client_max_window_bits=10,
    server_max_window_bits=11,
    client_no_context_takeover=True,
    server_no_context_takeover=True,
)


class Agreed(NamedTuple):
    """The agreement: base-2 logarithms of the windows, and whether contexts are taken over."""

    client_bits: int = 15
    client_takeover: bool = True
    server_bits: int = 15
    server_takeover: bool = True


def agreed(deflate: Deflate) -> Agreed:
    return Agreed(
        deflate._client_bits,
        deflate._client_takeover,
        deflate._server_bits,
        deflate._server_takeover,
    )


def offering(settings: PerMessageDeflate) -> tuple[HTTP11Upgrade, Deflate]:
    deflate = Deflate(settings, Limits(None))
    return upgrade(extensions=[deflate]), deflate


def shaken(settings: PerMessageDeflate, *values: str) -> tuple[HTTP11Upgrade, Deflate]:
    """Offer compression, and have the server answer by header fields of these values."""
    shake, deflate = offering(settings)
    lines = [f"Sec-WebSocket-Extensions: {value}" for value in values]
    shake.receive_data(complete(shake, switching(*lines)))
    return shake, deflate


# The offer


@pytest.mark.parametrize(
    ("settings", "offer"),
    [
        (DEFAULT, "client_max_window_bits"),
        (PerMessageDeflate(level=9, memory_level=9, min_size=0), "client_max_window_bits"),
        (PerMessageDeflate(client_max_window_bits=8), "client_max_window_bits=8"),
        (
            PerMessageDeflate(server_max_window_bits=8),
            "server_max_window_bits=8; client_max_window_bits",
        ),
        (
            PerMessageDeflate(client_no_context_takeover=True),
            "client_no_context_takeover; client_max_window_bits",
        ),
        (
            PerMessageDeflate(server_no_context_takeover=True),
            "server_no_context_takeover; client_max_window_bits",
        ),
        (
            ALL,
            (
                "server_no_context_takeover; client_no_context_takeover; "
                "server_max_window_bits=11; client_max_window_bits=10"
            ),
        ),
    ],
)
def test_offer_follows_from_the_settings(settings: PerMessageDeflate, offer: str):
    shake, _ = offering(settings)
    line = f"\r\nSec-WebSocket-Extensions: permessage-deflate; {offer}\r\n"
    assert line.encode() in shake.request_data


# Answers that fit

ACCEPTED = [
    ("", DEFAULT, Agreed()),
    ("; server_no_context_takeover", DEFAULT, Agreed(server_takeover=False)),
    ("; client_no_context_takeover", DEFAULT, Agreed(client_takeover=False)),
    *((f"; server_max_window_bits={n}", DEFAULT, Agreed(server_bits=n)) for n in range(8, 16)),
    *((f"; client_max_window_bits={n}", DEFAULT, Agreed(client_bits=n)) for n in range(8, 16)),
    (
        '; server_max_window_bits="9"; client_max_window_bits="8"',
        DEFAULT,
        Agreed(client_bits=8, server_bits=9),
    ),
    (
        " ;\tserver_max_window_bits = 9 ;client_no_context_takeover",
        DEFAULT,
        Agreed(client_takeover=False, server_bits=9),
    ),
    (
        (
            "; client_max_window_bits=10; server_max_window_bits=11"
            "; client_no_context_takeover; server_no_context_takeover"
        ),
        ALL,
        Agreed(client_bits=10, client_takeover=False, server_bits=11, server_takeover=False),
    ),
    (
        "; server_max_window_bits=8; client_max_window_bits=9",
        ALL,
        Agreed(client_bits=9, client_takeover=False, server_bits=8),
    ),
]


@pytest.mark.parametrize(("params", "settings", "expected"), ACCEPTED)
def test_response_that_fits_the_offer_is_applied(
    params: str, settings: PerMessageDeflate, expected: Agreed
):
    shake, deflate = shaken(settings, f"permessage-deflate{params}")
    assert shake.accepted is not None
    assert shake.accepted.extensions == (deflate,)
    assert deflate.enabled()
    assert agreed(deflate) == expected


def test_parameters_without_echo_bind_the_client_only():
    _, deflate = shaken(ALL, "permessage-deflate")
    assert agreed(deflate) == Agreed(client_bits=10, client_takeover=False)


@pytest.mark.parametrize("values", [(), ("",), (" ,",)], ids=["no field", "an empty one", "commas"])
def test_server_may_decline_compression(values: tuple[str, ...]):
    shake, deflate = shaken(ALL, *values)
    assert shake.accepted is not None
    assert shake.accepted.extensions == ()
    assert not deflate.enabled()


# Answers that do not

FLAGS = ["server_no_context_takeover", "client_no_context_takeover"]
WINDOWS = ["server_max_window_bits", "client_max_window_bits"]
NO_WINDOWS = ["0", "7", "16", "08", "010", "-8", "+9", "8.0", "1e1", "0x9", "1_0", "15" * 7]

REFUSED = {
    "; x": "unknown parameter 'x'",
    "; x=1": "unknown parameter 'x'",
    "; server_no_context_takeover; x": "unknown parameter 'x'",
    "; SERVER_NO_CONTEXT_TAKEOVER": "unknown parameter 'SERVER_NO_CONTEXT_TAKEOVER'",
    **{f"; {name}; {name}": f"parameter {name} is given twice" for name in FLAGS},
    **{f"; {name}=9; {name}=9": f"parameter {name} is given twice" for name in WINDOWS},
    **{f"; {name}=9; {name}=8": f"parameter {name} is given twice" for name in WINDOWS},
    **{f"; {name}=1": f"parameter {name} takes no value, but has '1'" for name in FLAGS},
    **{f"; {name}": f"parameter {name} has to be 8 to 15, but has no value" for name in WINDOWS},
    **{
        f"; {name}={value}": f"parameter {name} has to be 8 to 15, not '{value}'"
        for name in WINDOWS
        for value in NO_WINDOWS
    },
    '; server_max_window_bits="08"': "parameter server_max_window_bits has to be 8 to 15, not '08'",
}


@pytest.mark.parametrize(("params", "problem"), REFUSED.items(), ids=REFUSED)
def test_response_with_wrong_parameters_fails_the_handshake(params: str, problem: str):
    with pytest.raises(InvalidResponse) as caught:
        shaken(DEFAULT, f"permessage-deflate{params}")
    expected = f"header Sec-WebSocket-Extensions: permessage-deflate: {problem}"
    assert str(caught.value) == expected


@pytest.mark.parametrize(
    ("params", "problem"),
    [
        ("; server_max_window_bits=12", "server_max_window_bits has to be 8 to 11, not '12'"),
        ("; client_max_window_bits=11", "client_max_window_bits has to be 8 to 10, not '11'"),
    ],
)
def test_larger_window_than_offered_fails_the_handshake(params: str, problem: str):
    with pytest.raises(InvalidResponse) as caught:
        shaken(ALL, f"permessage-deflate{params}")
    assert str(caught.value).endswith(f"permessage-deflate: parameter {problem}")


MALFORMED = {
    "permessage-deflate;": "not a parameter of an extension: ''",
    "permessage-deflate; server_max_window_bits=": (
        "not a parameter of an extension: 'server_max_window_bits='"
    ),
    'permessage-deflate; server_max_window_bits=""': (
        "not a parameter of an extension: 'server_max_window_bits=\"\"'"
    ),
    "permessage-deflate; server_max_window_bits=8 9": (
        "not a parameter of an extension: 'server_max_window_bits=8 9'"
    ),
    "permessage-deflate; server_no_context_takeover=": (
        "not a parameter of an extension: 'server_no_context_takeover='"
    ),
    "permessage-deflate, permessage-deflate": "'permessage-deflate' accepted twice",
    "permessage-deflate; server_max_window_bits=9, permessage-deflate": (
        "'permessage-deflate' accepted twice"
    ),
    "permessage-deflate, x-other": "'x-other' was not offered",
    "x-other": "'x-other' was not offered",
    "Permessage-Deflate": "'Permessage-Deflate' was not offered",
}


@pytest.mark.parametrize(("value", "problem"), MALFORMED.items(), ids=MALFORMED)
def test_response_to_another_offer_fails_the_handshake(value: str, problem: str):
    with pytest.raises(InvalidResponse) as caught:
        shaken(DEFAULT, value)
    assert str(caught.value) == f"header Sec-WebSocket-Extensions: {problem}"


def test_several_header_fields_are_one_response():
    with pytest.raises(InvalidResponse, match="'permessage-deflate' accepted twice"):
        shaken(DEFAULT, "permessage-deflate", "permessage-deflate; client_max_window_bits=9")


@pytest.mark.parametrize(
    "params",
    [
        "x" * 50_000,
        "server_no_context_takeover=" + "x" * 50_000,
        "server_max_window_bits=" + "9" * 50_000,
        "server_max_window_bits=\xff\x9b" + "(" * 50_000,
    ],
    ids=["a name", "a flag", "a window", "no token"],
)
def test_error_about_long_response_is_one_short_line(params: str):
    with pytest.raises(InvalidResponse) as caught:
        shaken(DEFAULT, f"permessage-deflate; {params}")
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 300
