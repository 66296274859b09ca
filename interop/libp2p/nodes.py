"""The implementations that `interop/perf` and `interop/round-trips` measure: how to build, start and ask their nodes.

All have the command line of the example `peer`; one more implementation is one more entry of `NODES`.
"""

import json
import os
import select
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")).resolve()
OURS, RUST, GO = "ws-transport", "rust-libp2p", "go-libp2p"
ADDRESSES = {"ws": "/ip4/127.0.0.1/tcp/0/ws", "wss": "/ip4/127.0.0.1/tcp/0/tls/ws", "tcp": "/ip4/127.0.0.1/tcp/0"}
# Longest time, in seconds, until a listener has printed its address.
STARTING = 20


@dataclass
class Node:
    command: list
    build: list
    over: tuple = ("ws", "wss", "tcp")
    # Further ways to dial, by what they are called and the words for them.
    variants: dict = field(default_factory=dict)


NODES = {
    OURS: Node(
        [TARGET / "release/examples/peer"],
        ["cargo", "build", "--release", "--example", "peer", "--features", "upgrade"],
        over=("ws", "wss"),
    ),
    RUST: Node(
        [TARGET / "release/rust-libp2p-peer"],
        ["cargo", "build", "--release", "--manifest-path", HERE / "rust/Cargo.toml"],
        variants={"streams negotiated lazily": ["--lazy"]},
    ),
    GO: Node(
        [TARGET / "interop/go-libp2p-peer"],
        ["go", "build", "-C", HERE / "go", "-o", TARGET / "interop/go-libp2p-peer", "."],
        variants={"not waiting for identify": ["--lazy"]},
    ),
}


def choose(names):
    """The nodes of a list such as `ws-transport,go-libp2p`, built."""
    chosen = {}
    for name in names.split(","):
        if name not in NODES:
            sys.exit(f"no such implementation: {name}; there are {', '.join(NODES)}")
        chosen[name] = NODES[name]
        # What a build prints is not part of the result.
        subprocess.run([*NODES[name].build], cwd=ROOT, check=True, stdout=sys.stderr, env=environment())
    return chosen


def environment():
    return os.environ | {"CARGO_TARGET_DIR": str(TARGET)}


@contextmanager
def certificates():
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([ROOT / "interop/certs", folder], check=True)
        yield Path(folder)


@contextmanager
def listening(node, over, certs, prefix=()):
    """A node that listens; gives its process and its address."""
    words = ["listen", ADDRESSES[over]]
    if over == "wss":
        words += ["--tls", certs / "chain.pem", certs / "key.pem"]
    process = subprocess.Popen(
        [*prefix, *node.command, *words], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True
    )
    try:
        ready, _, _ = select.select([process.stdout], [], [], STARTING)
        line = process.stdout.readline() if ready else ""
        if not line:
            raise RuntimeError(f"{node.command[0]} does not listen on {ADDRESSES[over]}")
        yield process, json.loads(line)["addr"]
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def dial(node, address, certs, words, prefix=(), timeout=120):
    """What the node printed."""
    command = [*prefix, *node.command, "dial", address, "--timeout", str(timeout), *words]
    if "/tls/" in address:
        command += ["--ca", certs / "ca.pem"]
    done = subprocess.run(
        [*map(str, command)], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout + 30
    )
    try:
        told = json.loads(done.stdout)
    except ValueError:
        told = {"error": (done.stderr.strip() or done.stdout.strip() or "nothing printed").splitlines()[-1]}
    if not told.get("ok"):
        raise RuntimeError(told.get("error"))
    return told
