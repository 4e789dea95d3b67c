"""Which names of subprotocols may be shown."""

from __future__ import annotations

import pytest

from trio_wsclient._http.subprotocols import is_public_subprotocol


@pytest.mark.parametrize(
    "name",
    [
        *("chat", "mqtt", "soap", "SIP", "v1", "graphql-ws", "graphql-transport-ws"),
        *("v12.stomp", "wamp.2.msgpack.batched", "v4.channel.k8s.io", "actioncable-v1-json"),
    ],
)
def test_name_of_a_subprotocol_is_public(name: str):
    assert is_public_subprotocol(name)


@pytest.mark.parametrize(
    "name",
    [
        *("bearer.abcdefgh", "token-abcdefgh", "550e8400-e29b-41d4-a716-446655440000"),
        *("deadbeefdeadbeefdeadbeef", "SECRETJWTTOKEN", "eyJhbGciOiJIUzI1NiJ9", "s3cr3tpw"),
        *("base64url.bearer.authorization.k8s.io.YWJj", "no token", ""),
    ],
)
def test_subprotocol_that_may_be_a_token_is_not_public(name: str):
    assert not is_public_subprotocol(name)
