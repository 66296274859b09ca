"""The implementations that `matrix.py` tests, and `interop/perf` and `interop/round-trips` measure: how to build, start
and ask their nodes.

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
OURS, RUST, GO, JS, PY = "ws-transport", "rust-libp2p", "go-libp2p", "js-libp2p", "py-libp2p"
VENV = TARGET / "interop/py-libp2p"
ADDRESSES = {"ws": "/ip4/127.0.0.1/tcp/0/ws", "wss": "/ip4/127.0.0.1/tcp/0/tls/ws", "tcp": "/ip4/127.0.0.1/tcp/0"}
# Longest time, in seconds, until a listener has printed its address.
STARTING = 20
# A dialer that has not ended so many seconds after its own deadline is stopped.
GRACE = 15


@dataclass
class Node:
    command: list
    # Commands, each a list.
    build: list
    over: tuple = ("ws", "wss", "tcp")
    # How it wants `/tls/ws` to be written when it dials.
    secure: str = "/tls/ws"
    # Whether it speaks `/perf/1.0.0`.
    perf: bool = True
    # Further ways to dial, by what they are called and the words for them.
    variants: dict = field(default_factory=dict)


NODES = {
    OURS: Node(
        [TARGET / "release/examples/peer"],
        [["cargo", "build", "--quiet", "--release", "--example", "peer", "--features", "upgrade"]],
        over=("ws", "wss"),
    ),
    RUST: Node(
        [TARGET / "release/rust-libp2p-peer"],
        [["cargo", "build", "--quiet", "--release", "--manifest-path", HERE / "rust/Cargo.toml"]],
        variants={"streams negotiated lazily": ["--lazy"]},
    ),
    GO: Node(
        [TARGET / "interop/go-libp2p-peer"],
        [["go", "build", "-C", HERE / "go", "-o", TARGET / "interop/go-libp2p-peer", "."]],
        variants={"not waiting for identify": ["--lazy"]},
    ),
    JS: Node(
        [HERE / "js/peer"],
        [["npm", "install", "--prefix", HERE / "js", "--no-package-lock", "--no-audit", "--no-fund", "--silent"]],
        over=("ws", "wss"),
        perf=False,
    ),
    PY: Node(
        [VENV / "bin/python", HERE / "py/peer.py"],
        [
            ["python3", "-m", "venv", VENV],
            [VENV / "bin/pip", "install", "-q", "--disable-pip-version-check", "-r", HERE / "py/requirements.txt"],
        ],
        over=("ws", "wss"),
        # py-libp2p 0.8.1 appends `/p2p/...` and then refuses what does not end in `/ws` after `/tls`.
        secure="/wss",
        perf=False,
    ),
}


def choose(names):
    """The nodes of a list such as `ws-transport,go-libp2p`, built."""
    chosen = {}
    for name in names.split(","):
        if name not in NODES:
            sys.exit(f"no such implementation: {name}; there are {', '.join(NODES)}")
        chosen[name] = NODES[name]
    build(chosen.values())
    return chosen


def build(chosen):
    """Each command once, also if several nodes come from it."""
    done = []
    for command in [command for node in chosen for command in node.build]:
        if command not in done:
            done.append(command)
            # What a build prints is not part of the result.
            environment = os.environ | {"CARGO_TARGET_DIR": str(TARGET)}
            subprocess.run(command, cwd=ROOT, check=True, stdout=sys.stderr, env=environment)


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
    command = [*prefix, *node.command, "dial", address.replace("/tls/ws", node.secure)]
    command += ["--timeout", str(timeout), *words]
    if "/tls/" in address:
        command += ["--ca", certs / "ca.pem"]
    try:
        done = subprocess.run(
            [*map(str, command)], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout + GRACE
        )
    except subprocess.TimeoutExpired as error:
        raise RuntimeError(f"{node.command[0]} did not end") from error
    try:
        told = json.loads(done.stdout)
    except ValueError:
        told = {"error": (done.stderr.strip() or done.stdout.strip() or "nothing printed").splitlines()[-1]}
    if not told.get("ok"):
        raise RuntimeError(told.get("error"))
    return told
