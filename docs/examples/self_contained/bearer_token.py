import trio

from trio_wsclient import ConnectionRejected, open_websocket_client
from trio_wsclient.testing import Request, open_loopback_server

TOKEN = "s3cret"


def refuse(request: Request) -> int | None:
    known = request.headers.get("Authorization") == f"Bearer {TOKEN}"
    return None if known else 401


async def main() -> None:
    async with open_loopback_server(refuse=refuse) as server:
        headers = {"Authorization": f"Bearer {TOKEN}"}
        async with open_websocket_client(server.url, extra_headers=headers) as ws:
            await ws.send("let me in")
            print(await ws.receive())

        try:
            async with open_websocket_client(server.url):
                print("not reached")
        except ConnectionRejected as exc:
            print(exc.status_code, exc)


trio.run(main)
