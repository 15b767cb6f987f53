#!/usr/bin/env bash
# Finding: uvicorn 0.54.0 with websockets 17.4 breaks off its own end if a WebSocket's client has closed and not yet gone.
#
# Expected: told to end, the server closes what is open, leaves what is closing, and tells the app (lifespan.shutdown).
# Happens: a client says that it closes, and has not yet read all that was sent to it. Told to end now, the server closes
# that WebSocket a second time, websockets raises InvalidState, and it comes out of `Server.serve`: other connections are
# not closed, and the app is never told. Where the client reads all, the time in which it can happen is short, not none.
#
# Exits 0 while this holds, 1 when it changed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check uvicorn==0.54.0 websockets==17.4
"$folder/venv/bin/python" - <<'PY' && status=0 || status=$?
import asyncio
import sys

import uvicorn
import websockets
from websockets.client import ClientProtocol
from websockets.uri import parse_uri

told = []
left = asyncio.Event()


async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        while (message := await receive())["type"] != "lifespan.shutdown":
            await send({"type": f"{message['type']}.complete"})
        told.append("lifespan.shutdown")
        await send({"type": "lifespan.shutdown.complete"})
        return
    await receive()
    await send({"type": "websocket.accept"})
    await send({"type": "websocket.send", "bytes": bytes(64 << 20)})
    while (await receive())["type"] != "websocket.disconnect":
        pass
    left.set()


async def main():
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="warning", timeout_graceful_shutdown=1))
    serving = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    client = ClientProtocol(parse_uri(f"ws://127.0.0.1:{port}/"))
    client.send_request(client.connect())
    writer.write(b"".join(client.data_to_send()))
    client.receive_data(await reader.readuntil(b"\r\n\r\n"))
    client.send_close(1000)
    writer.write(b"".join(client.data_to_send()))
    await left.wait()
    server.should_exit = True
    try:
        await asyncio.wait_for(serving, 30)
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    finally:
        writer.close()
    return "an orderly end"


came = asyncio.run(main())
print(f"uvicorn {uvicorn.__version__}, websockets {websockets.__version__}: {came}; the app was told: {told or 'nothing'}")
holds = came.startswith("InvalidState") and not told
print("as described" if holds else "CHANGED")
sys.exit(0 if holds else 1)
PY
exit "$status"
