"""Digest authentication (RFC 7616): the server rejects the first request with a challenge."""

import hashlib
import secrets
from urllib.request import parse_http_list, parse_keqv_list

import trio

from trio_wsclient import ConnectionRejected, open_websocket_client

HASHES = {"SHA-256": hashlib.sha256, "MD5": hashlib.md5}


class Digest:
    def __init__(self, user: str, password: str) -> None:
        self._user = user
        self._password = password

    async def __call__(self, rejected: ConnectionRejected) -> dict[str, str] | None:
        challenges = {}
        for value in rejected.headers.get_all("WWW-Authenticate"):
            scheme, _, parameters = value.partition(" ")
            if scheme.lower() == "digest":
                challenge = parse_keqv_list(parse_http_list(parameters))
                challenges[challenge.get("algorithm", "MD5")] = challenge
        for algorithm in HASHES:  # the stronger one first
            if algorithm in challenges:
                return {"Authorization": self._answer(rejected.url, challenges[algorithm])}
        return None  # The server wants something else: the rejection is raised.

    def _answer(self, url: str, challenge: dict[str, str]) -> str:
        algorithm = challenge.get("algorithm", "MD5")
        realm, nonce = challenge["realm"], challenge["nonce"]
        uri = "/" + url.split("/", 3)[3]  # path and query
        count, client_nonce = "00000001", secrets.token_hex(16)

        def digest(*parts: str) -> str:
            return HASHES[algorithm](":".join(parts).encode()).hexdigest()

        secret = digest(self._user, realm, self._password)
        response = digest(secret, nonce, count, client_nonce, "auth", digest("GET", uri))
        quoted = {
            "username": self._user,
            "realm": realm,
            "nonce": nonce,
            "uri": uri,
            "response": response,
            "cnonce": client_nonce,
        }
        if "opaque" in challenge:
            quoted["opaque"] = challenge["opaque"]
        fields = ", ".join(f'{name}="{value}"' for name, value in quoted.items())
        return f"Digest {fields}, algorithm={algorithm}, qop=auth, nc={count}"


async def main() -> None:
    digest = Digest("user", "pass-word")
    async with open_websocket_client("wss://example.org/echo", on_rejected=digest) as ws:
        await ws.send("let me in")
        print(await ws.receive())


trio.run(main)
