import ssl

import trio
import trustme  # makes certificates for tests: pip install trustme

from trio_wsclient import TLSInfo, open_websocket_client
from trio_wsclient.testing import open_loopback_server


class WrongCertificate(Exception):
    pass


async def main() -> None:
    device = trustme.CA().issue_cert("device.local")
    for_device = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    device.configure_cert(for_device)
    # From a file: ssl.PEM_cert_to_DER_cert(Path("device.pem").read_text())
    pinned = ssl.PEM_cert_to_DER_cert(device.cert_chain_pems[0].bytes().decode())

    unverified = ssl.create_default_context()
    unverified.check_hostname = False
    unverified.verify_mode = ssl.CERT_NONE  # check_tls does it instead

    def check(tls: TLSInfo) -> None:
        if tls.peer_certificate != pinned:
            raise WrongCertificate("this is not our device")

    async def talk(url: str) -> None:
        async with open_websocket_client(url, ssl_context=unverified, check_tls=check) as ws:
            await ws.send("status?")
            print(await ws.receive())

    async with open_loopback_server(ssl_context=for_device) as server:
        await talk(server.url)

    another = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    trustme.CA().issue_cert("device.local").configure_cert(another)
    async with open_loopback_server(ssl_context=another) as server:
        try:
            await talk(server.url)
        except WrongCertificate as exc:
            print(exc)


trio.run(main)
