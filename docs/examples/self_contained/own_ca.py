import ssl

import trio
import trustme  # makes certificates for tests: pip install trustme

from trio_wsclient import HandshakeError, open_websocket_client
from trio_wsclient.testing import open_loopback_server


async def main() -> None:
    ca = trustme.CA()
    for_server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    ca.issue_cert("127.0.0.1").configure_cert(for_server)

    trusting = ssl.create_default_context()
    ca.configure_trust(trusting)  # with a file: create_default_context(cafile="ca.pem")

    async with open_loopback_server(ssl_context=for_server) as server:
        async with open_websocket_client(server.url, ssl_context=trusting) as ws:
            await ws.send("over TLS")
            print(await ws.receive())

        try:
            async with open_websocket_client(server.url):
                print("not reached")
        except HandshakeError as exc:
            print("the system does not know this CA:", type(exc.__cause__).__name__)


trio.run(main)
