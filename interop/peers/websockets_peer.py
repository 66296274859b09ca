"""Python's websockets as `client URL [CA]` or as `server [CHAIN KEY]`; what it does is told in matrix.py."""

import asyncio
import json
import logging
import os
import ssl
import sys

from websockets.asyncio.client import connect
from websockets.asyncio.server import serve
from websockets.exceptions import ConnectionClosed

SIZES = [0, 1, 125, 126, 65535, 65536, 1 << 20]

# A client that distrusts us, or a text that is refused, is part of the test and no news.
logging.getLogger("websockets").setLevel(logging.CRITICAL)


def tell(**what):
    print(json.dumps(what), flush=True)


def pattern(length):
    return (bytes(range(251)) * (length // 251 + 1))[:length]


async def receive(socket, length):
    """Reads messages until they are so many bytes: message boundaries mean nothing to a byte stream."""
    received = b""
    while len(received) < length:
        received += await socket.recv()
    return received


async def echo(socket, message, data):
    await socket.send(message)
    return await receive(socket, len(data)) == data


async def client(url, ca=None, _spki=None):
    options = {"proxy": None, "max_size": None}
    if ca:
        options["ssl"] = ssl.create_default_context(cafile=ca)

    async with connect(url, **options) as socket:
        for size in SIZES:
            data = os.urandom(size)
            tell(check="echo", ok=await echo(socket, data, data), detail=f"{size} bytes")
        data = os.urandom(200_000)
        parts = [data[:1], b"", data[1:70_000], data[70_000:]]
        tell(check="fragments", ok=await echo(socket, parts, data))
        await (await socket.ping(b"p" * 125))
        tell(check="ping", ok=True)
    tell(check="close 1000", ok=socket.close_code == 1000, detail=f"{socket.close_code}")

    async with connect(url, **options) as socket:
        await socket.close(4000, "bye")
    tell(check="close 4000", ok=socket.close_code == 4000, detail=f"{socket.close_code}")

    async with connect(url, **options) as socket:
        await socket.send("text")
        await socket.wait_closed()
    tell(check="text 1003", ok=socket.close_code == 1003, detail=f"{socket.close_code}")


async def handle(socket):
    path, pong = socket.request.path, None
    try:
        match path:
            case "/echo":
                await (await socket.ping(b"p" * 125))
                pong = True
                async for message in socket:
                    await socket.send(message)
            case "/sizes":
                for size in SIZES:
                    await socket.send(pattern(size))
                await socket.send([b"one ", b"", b"message"])
                await socket.close()
            case "/bye":
                await socket.close(4000, "bye")
            case "/text":
                await socket.send("text")
                await socket.wait_closed()
    except ConnectionClosed:
        pass
    tell(path=path, pong=pong, code=socket.close_code)


async def server(chain=None, key=None):
    context = None
    if chain:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(chain, key)
    async with serve(handle, "127.0.0.1", 0, ssl=context) as listener:
        tell(port=listener.sockets[0].getsockname()[1])
        await listener.serve_forever()


asyncio.run({"client": client, "server": server}[sys.argv[1]](*sys.argv[2:]))
