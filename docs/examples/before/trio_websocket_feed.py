import trio
from trio_websocket import ConnectionClosed, HandshakeError, open_websocket_url


async def main():
    try:
        async with open_websocket_url("wss://example.org/feed") as ws:
            await ws.send_message("subscribe")
            try:
                while True:
                    print(await ws.get_message())
            except ConnectionClosed as exc:
                print("closed:", exc.reason.code, exc.reason.reason or "")
    except HandshakeError as exc:
        print("it did not open:", repr(exc))


trio.run(main)
