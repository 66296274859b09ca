"""py-libp2p, with the command line of the example `peer`: `listen` and `dial`."""

import argparse
import json
import os
import signal
import ssl
import sys
import time

import trio
from libp2p import create_yamux_muxer_option, new_host
from libp2p.crypto.ed25519 import create_new_key_pair
from libp2p.crypto.x25519 import create_new_key_pair as create_new_x25519_key_pair
from libp2p.host.ping import PingService
from libp2p.host.ping import ID as PING
from libp2p.identity.identify.identify import ID as IDENTIFY
from libp2p.identity.identify.identify import parse_identify_response
from libp2p.network.stream.exceptions import StreamEOF
from libp2p.peer.peerinfo import info_from_p2p_addr
from libp2p.peer.peerstore import PeerStoreError
from libp2p.security.noise.transport import PROTOCOL_ID as NOISE
from libp2p.security.noise.transport import Transport as Noise
from libp2p.stream_muxer.yamux.yamux import PROTOCOL_ID as YAMUX
from multiaddr import Multiaddr

ECHO = "/echo/1.0.0"
MIB, WRITE = 1 << 20, 64 << 10
# What a stream sends: it differs between streams, and its period is none of a window or a frame.
PERIOD = 251 * 521
PATTERN = bytes(i % 251 ^ i % 521 & 0xFF for i in range(PERIOD)) * (2 + MIB // PERIOD)


def start(**tls):
    """A host with noise and yamux only: py-libp2p would offer plain text and mplex as well."""
    key = create_new_key_pair()
    noise = Noise(key, noise_privkey=create_new_x25519_key_pair().private_key)
    return new_host(
        key_pair=key,
        sec_opt={NOISE: noise},
        muxer_opt={YAMUX: create_yamux_muxer_option()[YAMUX]},
        enable_tcp=False,
        enable_websocket=True,
        **tls,
    )


async def chunks(stream, length=WRITE):
    """What comes until the other end half-closes."""
    try:
        while data := await stream.read(length):
            yield data
    except StreamEOF:
        pass


async def echo(stream):
    try:
        async for data in chunks(stream):
            await stream.write(data)
        await stream.close()
    except Exception as error:
        print(f"echo: {reason(error)}", file=sys.stderr)
        await stream.reset()


async def listen(args):
    tls = {}
    if args.tls:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*args.tls)
        tls["tls_server_config"] = context
    host = start(**tls)
    host.set_stream_handler(ECHO, echo)
    host.set_stream_handler(PING, PingService(host).handle_ping)
    with trio.open_signal_receiver(signal.SIGTERM) as signals:
        async with host.run([Multiaddr(address) for address in args.addresses]):
            for address in host.get_addrs():
                print(json.dumps({"addr": str(address)}), flush=True)
            async for _signal in signals:
                # Closing would wait for peers that are still there.
                os._exit(0)


async def compare(stream, seed, length, late_close, result):
    """Sends so many bytes and compares what comes back."""

    async def send():
        for at in range(0, length, WRITE):
            offset = (at + 7919 * seed) % PERIOD
            await stream.write(PATTERN[offset : offset + WRITE])
        if not late_close:
            await stream.close_write()

    at = 0
    async with trio.open_nursery() as nursery:
        nursery.start_soon(send)
        async for data in chunks(stream):
            offset = (at + 7919 * seed) % PERIOD
            if data != PATTERN[offset : offset + len(data)]:
                raise RuntimeError(f"stream {seed} differs in bytes {at} to {at + len(data)}")
            at += len(data)
            result["bytes"] += len(data)
            if at == length and late_close:
                await stream.close_write()
    if at != length:
        raise RuntimeError(f"the echo of stream {seed} ended after {at} of {length} bytes")


async def identified(host, peer):
    while True:
        try:
            if host.get_peerstore().get_protocols(peer):
                return
        except PeerStoreError:
            pass
        await trio.sleep(0.01)


async def talk(args, result):
    tls = {"tls_client_config": ssl.create_default_context(cafile=args.ca)} if args.ca else {}
    host = start(**tls)
    peer = info_from_p2p_addr(Multiaddr(args.address))
    async with host.run([]):
        began = time.monotonic()
        await host.connect(peer)
        result["peer"] = str(peer.peer_id)
        if args.first_byte:
            stream = await host.new_stream(peer.peer_id, [ECHO])
            await stream.write(b"\x01")
            await stream.read(1)
            result["first_byte_ms"] = 1000 * (time.monotonic() - began)
            await stream.close()

        # The host asks by itself as well, and js-libp2p answers one such question at a time.
        await identified(host, peer.peer_id)
        stream = await host.new_stream(peer.peer_id, [IDENTIFY])
        identify = parse_identify_response(b"".join([data async for data in chunks(stream)]))
        result["agent"] = identify.agent_version
        if ECHO not in identify.protocols:
            raise RuntimeError(f"identify tells of no {ECHO}, but of {list(identify.protocols)}")

        stream = await host.new_stream(peer.peer_id, [PING])
        for _ping in range(args.pings):
            began, data = time.monotonic(), os.urandom(32)
            await stream.write(data)
            answer = b""
            while len(answer) < len(data):
                answer += await stream.read(len(data) - len(answer))
            if answer != data:
                raise RuntimeError("the answer to a ping differs")
            result["rtt_ms"] = 1000 * (time.monotonic() - began)
        await stream.close()

        async with trio.open_nursery() as nursery:
            for seed in range(args.streams):
                stream = await host.new_stream(peer.peer_id, [ECHO])
                nursery.start_soon(compare, stream, seed, args.mib * MIB, args.late_close, result)
        result["ok"] = True
        finish(result)


def reason(error):
    """The names and texts of an error and of its causes."""
    causes = []
    while error is not None and len(causes) < 5:
        if isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
            continue
        causes.append(f"{type(error).__name__} {error}".strip())
        error = error.__cause__ or error.__context__
    return ": ".join(causes)


def finish(result):
    """Prints, and ends at once: closing would wait for the other end."""
    print(json.dumps(result), flush=True)
    os._exit(0 if result["ok"] else 1)


async def dial(args):
    result = dict(ok=False, peer=None, agent=None, rtt_ms=None, bytes=0, error=None)
    try:
        with trio.fail_after(args.timeout):
            await talk(args, result)
    except BaseException as error:
        late = isinstance(error, trio.TooSlowError)
        done = f"not done after {args.timeout} s; {result['bytes']} bytes were back"
        result["error"] = done if late else reason(error)
    finish(result)


def arguments():
    parser = argparse.ArgumentParser()
    roles = parser.add_subparsers(required=True)
    role = roles.add_parser("listen")
    role.set_defaults(role=listen)
    role.add_argument("addresses", nargs="+")
    role.add_argument("--tls", nargs=2, metavar=("CHAIN", "KEY"))
    role = roles.add_parser("dial")
    role.set_defaults(role=dial)
    role.add_argument("address")
    role.add_argument("--ca")
    role.add_argument("--mib", type=int, default=1)
    role.add_argument("--streams", type=int, default=1)
    role.add_argument("--pings", type=int, default=3)
    role.add_argument("--timeout", type=float, default=60)
    role.add_argument("--late-close", action="store_true")
    role.add_argument("--first-byte", action="store_true")
    return parser.parse_args()


args = arguments()
trio.run(args.role, args)
