"""Runs every peer in every role against `dial` and `listen`, and prints a table of what worked.

A peer that dials `listen --echo` sends messages of 0 to 1 MiB and one in fragments and compares what comes back, sends a
Ping, and closes with 1000; then closes a second connection with 4000 and sends text, which is refused, on a third.

A peer that listens does by the path of the request what `dial` is to see:

* `/echo`: a Ping, and an echo of what `dial` sends from its standard input, until it closes;
* `/sizes`: messages of 0 bytes to 1 MiB and one in fragments, then Close 1000;
* `/bye`: Close 4000; `/text`: a text message, which `dial` refuses.

Either prints what it saw as lines of JSON; both ends of every close are checked.
"""

import argparse
import asyncio
import json
import os
import sys
from collections import defaultdict
from contextlib import asynccontextmanager
from pathlib import Path

HERE = Path(__file__).parent
SIZES = [0, 1, 125, 126, 65535, 65536, 1 << 20]
CHECKS = ["echo", "fragments", "ping", "close 1000", "close 4000", "text 1003", "wrong CA"]
PEERS = {
    "Python websockets": ([sys.executable, HERE / "peers/websockets_peer.py"], ["client", "server"]),
    "Node ws": (["node", HERE / "peers/ws_peer.mjs"], ["client", "server"]),
    "Chromium": (["node", HERE / "peers/chromium_peer.mjs"], ["client"]),
}
# What a page cannot do.
LACKING = {"Chromium": {"fragments", "ping"}}
# What `dial` and `listen` tell of a Close 4000 and of a text message.
BYE, TEXT = 'code 4000 ("bye")', "peer sent a text frame"
# Longest time for one peer in one role, in seconds.
PATIENCE = 90


def pattern(length):
    return (bytes(range(251)) * (length // 251 + 1))[:length]


class Row:
    """The checks of one peer in one role."""

    def __init__(self, peer, role, scheme):
        self.peer, self.role, self.scheme = peer, role, scheme
        self.seen = defaultdict(list)

    def check(self, name, ok, detail=""):
        self.seen[name].append(bool(ok))
        if not ok:
            print(f"FAILED: {self.peer} as {self.role} over {self.scheme}: {name}: {detail}", flush=True)

    def expected(self):
        lacking = set(LACKING.get(self.peer, ()))
        if self.role == "client" or self.scheme == "ws":
            lacking.add("wrong CA")
        return [name for name in CHECKS if name not in lacking]

    def cell(self, name):
        if name not in self.expected():
            return "–"
        return "ok" if self.seen[name] and all(self.seen[name]) else "FAIL"

    def ok(self):
        return all(self.cell(name) != "FAIL" for name in CHECKS)


@asynccontextmanager
async def process(*command, **pipes):
    started = await asyncio.create_subprocess_exec(*map(str, command), limit=1 << 22, **pipes)
    try:
        yield started
    finally:
        if started.returncode is None:
            started.kill()
        await started.wait()


async def lines_of_json(stream):
    async for line in stream:
        yield json.loads(line)


async def next_json(stream):
    line = await stream.readline()
    if not line:
        raise RuntimeError("the peer ended")
    return json.loads(line)


async def peer_dials(row, peer, setup):
    """The peer as client of `listen --echo`."""
    tls = row.scheme == "wss"
    suffix, options = ("tls/ws", ["--tls", setup.chain, setup.key]) if tls else ("ws", [])
    listen = [setup.examples / "listen", f"/ip4/127.0.0.1/tcp/0/{suffix}", "--echo", *options]
    async with process(*listen, stdin=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE) as listener:
        address = (await listener.stderr.readline()).decode().strip()
        port = address.split("/")[4]
        url = f"{row.scheme}://{'localhost' if tls else '127.0.0.1'}:{port}/"
        trust = [setup.ca, setup.spki] if tls else []
        async with process(*peer, "client", url, *trust, stdout=asyncio.subprocess.PIPE) as client:
            async for line in lines_of_json(client.stdout):
                row.check(line["check"], line["ok"], line.get("detail", ""))
            if await client.wait() != 0:
                raise RuntimeError("the peer failed")
        told = "".join([(await listener.stderr.readline()).decode() for _connection in range(3)])
        for name, words in [("close 1000", "code 1000"), ("close 4000", BYE), ("text 1003", TEXT)]:
            row.check(name, words in told, told)


async def run_dial(setup, address, options, talk=None):
    """`dial` with `talk` at its standard input and output; its exit code, what it printed, and what it told."""
    pipe = asyncio.subprocess.PIPE
    async with process(setup.examples / "dial", address, *options, stdin=pipe, stdout=pipe, stderr=pipe) as dial:
        if talk:
            await talk(dial)
            dial.stdin.close()
        printed, told = await asyncio.gather(dial.stdout.read(), dial.stderr.read())
        return await dial.wait(), printed, told.decode()


async def peer_listens(row, peer, setup):
    """The peer as server of `dial`."""
    tls = row.scheme == "wss"
    arguments = [setup.chain, setup.key] if tls else []
    options = ["--ca", setup.ca] if tls else []
    async with process(*peer, "server", *arguments, stdout=asyncio.subprocess.PIPE) as server:
        port = (await next_json(server.stdout))["port"]

        def address(path):
            return f"/dns4/localhost/tcp/{port}/tls/ws/http-path/{path}" if tls else (
                f"/ip4/127.0.0.1/tcp/{port}/ws/http-path/{path}")

        async def talk(dial):
            for size in SIZES[1:]:
                data = os.urandom(size)
                dial.stdin.write(data)
                _, answer = await asyncio.gather(dial.stdin.drain(), dial.stdout.readexactly(size))
                row.check("echo", answer == data, f"{size} bytes from dial")

        code, _, told = await run_dial(setup, address("echo"), options, talk)
        row.check("echo", code == 0, told)
        saw = await next_json(server.stdout)
        row.check("ping", saw["pong"], saw)
        row.check("close 1000", saw["path"] == "/echo" and saw["code"] == 1000, saw)

        code, printed, told = await run_dial(setup, address("sizes"), options)
        whole, message = b"".join(map(pattern, SIZES)), b"one message"
        row.check("echo", printed.startswith(whole), f"{len(printed)} bytes from the peer; {told}")
        row.check("fragments", printed == whole + message, f"{len(printed)} bytes from the peer; {told}")
        saw = await next_json(server.stdout)
        row.check("close 1000", code == 0 and saw["code"] == 1000, f"{saw}; {told}")

        code, _, told = await run_dial(setup, address("bye"), options)
        saw = await next_json(server.stdout)
        row.check("close 4000", code == 1 and BYE in told, told)
        row.check("close 4000", saw["code"] == 4000, saw)

        code, _, told = await run_dial(setup, address("text"), options)
        saw = await next_json(server.stdout)
        row.check("text 1003", code == 1 and TEXT in told, told)
        row.check("text 1003", saw["code"] == 1003, saw)

        if tls:
            code, _, told = await run_dial(setup, address("echo"), ["--ca", setup.other_ca])
            row.check("wrong CA", code == 1 and "tls failed" in told, told)


def print_table(rows):
    head = ["peer", "its role", "over", *CHECKS]
    lines = [[row.peer, row.role, row.scheme, *map(row.cell, CHECKS)] for row in rows]
    widths = [max(map(len, column)) for column in zip(head, *lines)]
    for line in [head, ["-" * width for width in widths], *lines]:
        print("| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths)) + " |")


async def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--examples", type=Path, required=True, help="folder of the built examples")
    parser.add_argument("--certs", type=Path, required=True, help="folder that interop/certs has filled")
    setup = parser.parse_args()
    setup.ca, setup.other_ca = setup.certs / "ca.pem", setup.certs / "other-ca.pem"
    setup.chain, setup.key = setup.certs / "chain.pem", setup.certs / "key.pem"
    setup.spki = (setup.certs / "spki").read_text().strip()

    rows = []
    for name, (command, roles) in PEERS.items():
        for role in roles:
            for scheme in ["ws", "wss"]:
                row = Row(name, role, scheme)
                rows.append(row)
                run = peer_dials if role == "client" else peer_listens
                try:
                    await asyncio.wait_for(run(row, command, setup), PATIENCE)
                except Exception as error:
                    row.check("echo", False, repr(error))
    print_table(rows)
    return 0 if all(row.ok() for row in rows) else 1


sys.exit(asyncio.run(main()))
