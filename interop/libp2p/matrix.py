"""Lets libp2p nodes of several implementations dial each other over ws and wss, and prints a table of what worked.

Every node has the command line of the example `peer`. Without `--dialers` and `--listeners` ours (`ws-transport`) meets
every other node in both roles, and itself; with them, all of the one meet all of the other, ours or not, which tells
whose a failure is.

Failures of a peer's own stand with their evidence in known.json: the table shows them, and they do not fail the run. An
entry says which cells it is about (all that it does not restrict), what one of the ends then tells (a regular
expression), and whether that happens only `sometimes`; one that always happens and now passes is reported, so that the
list does not outlive its reasons.
"""

import argparse
import asyncio
import json
import re
import sys
import tempfile
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import nodes
from nodes import ADDRESSES, GRACE, OURS, STARTING

# js-libp2p in a page, which can only dial, and which trusts keys instead of authorities.
PAGE = "chromium"
NODES = nodes.NODES | {PAGE: nodes.Node(["node", nodes.HERE / "js/chromium.mjs"], nodes.NODES[nodes.JS].build)}
# A peer that nobody here is, and the hash of a key that nobody here has.
STRANGER = "12D3KooWLM3b3MjA4kXpJ3C3H7mLYfTHtiCjJ7F2UBNZnaVR1oob"
NO_KEY = "A" * 43 + "="

# What a dialer is asked to do, and the columns of the table that it fills.
DIALS = {
    "small": (["identify, ping", "1 MiB"], ["--pings", "3", "--mib", "1"]),
    "large": (["8 × 16 MiB"], ["--pings", "1", "--mib", "16", "--streams", "8"]),
    "late": (["late close"], ["--pings", "1", "--mib", "1", "--late-close"]),
    "authority": (["wrong CA"], ["--pings", "1"]),
    "stranger": (["wrong peer id"], ["--pings", "1"]),
}
COLUMNS = [column for columns, _ in DIALS.values() for column in columns]
# Longest time, in seconds, for what a dialer does: a page on a busy machine needs half of it for the large dial.
DIALING = 120
# A refusal that takes longer than this, in seconds, is none.
REFUSING = 30
# Lines of each end's output that are shown when something fails.
TAIL = 15


class Known:
    """The failures that are a peer's own."""

    def __init__(self, path):
        self.entries = json.loads(path.read_text())
        self.met = set()

    def about(self, cell):
        """The entries about a cell, with their numbers, counted from 1."""
        for number, entry in enumerate(self.entries, 1):
            restricted = [key for key in ["dialer", "listener", "scheme", "column"] if key in entry]
            if all(getattr(cell, key) in entry[key] for key in restricted):
                yield number, entry

    def number(self, cell, told):
        """The entry that a failure is to be found under, if there is one."""
        for number, entry in self.about(cell):
            if re.search(entry.get("told", ""), told):
                self.met.add(number)
                return number
        return None


@dataclass(frozen=True)
class Cell:
    dialer: str
    listener: str
    scheme: str
    column: str


@asynccontextmanager
async def process(command, log):
    """A running program; what it tells goes to a file, the lines it prints to its `stdout`."""
    with log.open("ab") as told:
        started = await asyncio.create_subprocess_exec(
            *map(str, command), stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=told
        )
    try:
        yield started
    finally:
        if started.returncode is None:
            started.terminate()
            try:
                await asyncio.wait_for(started.wait(), 5)
            except TimeoutError:
                started.kill()
                await started.wait()


def text(log):
    return log.read_text(errors="replace") if log.exists() else ""


def tail(log):
    return [f"    | {line[:300]}" for line in text(log).splitlines()[-TAIL:]]


class Matrix:
    def __init__(self, options, certs, logs):
        self.options, self.certs, self.logs = options, certs, logs
        self.known = Known(options.known)
        self.cells = {}
        self.new_failures = 0

    async def pair(self, dialer, listener, scheme):
        """All that one dialer does with one listener."""
        logs = [self.logs / f"{dialer}-{listener}-{scheme}.{end}" for end in ["dialer", "listener"]]
        tls = ["--tls", self.certs / "chain.pem", self.certs / "key.pem"] if scheme == "wss" else []
        command = [*NODES[listener].command, "listen", ADDRESSES[scheme], *tls]
        todo = [name for name in DIALS if name in self.options.dials and (scheme == "wss" or name != "authority")]
        while todo:
            async with process(command, logs[1]) as listening:
                try:
                    line = await asyncio.wait_for(listening.stdout.readline(), STARTING)
                    address = json.loads(line)["addr"]
                except (TimeoutError, ValueError, KeyError) as error:
                    trouble = f"the listener did not start: {error!r}"
                    for name in todo:
                        self.note(dialer, listener, scheme, name, None, trouble, 0, logs)
                    return
                # After a failure the listener is started again, so that it is not the cause of the next.
                while todo:
                    name = todo.pop(0)
                    began = time.monotonic()
                    result, trouble = await self.dial(dialer, scheme, name, address, logs[0])
                    if not self.note(dialer, listener, scheme, name, result, trouble, time.monotonic() - began, logs):
                        break

    async def dial(self, dialer, scheme, name, address, log):
        """What the dialer prints, or what is wrong with it."""
        node, right, trust = NODES[dialer], name != "authority", []
        if scheme == "wss" and dialer == PAGE:
            trust = ["--spki", (self.certs / "spki").read_text().strip() if right else NO_KEY]
        elif scheme == "wss":
            trust = ["--ca", self.certs / ("ca.pem" if right else "other-ca.pem")]
        if name == "stranger":
            address = f"{address.rsplit('/p2p/', 1)[0]}/p2p/{STRANGER}"
        log.unlink(missing_ok=True)
        address = address.replace("/tls/ws/", f"{node.secure}/")
        command = [*node.command, "dial", address, *DIALS[name][1], *trust, "--timeout", f"{DIALING}"]
        async with process(command, log) as dialing:
            try:
                printed = await asyncio.wait_for(dialing.stdout.read(), DIALING + GRACE)
                code = await asyncio.wait_for(dialing.wait(), GRACE)
            except TimeoutError:
                return None, f"the dialer had not ended {GRACE} s after its deadline"
        try:
            result = json.loads(printed.splitlines()[-1])
        except (ValueError, IndexError):
            return None, f"the dialer ended with {code} and printed {printed[-300:]!r}"
        if code != (0 if result["ok"] else 1):
            return result, f"the dialer ended with {code}"
        return result, None

    def note(self, dialer, listener, scheme, name, result, trouble, seconds, logs):
        """Fills the columns of a dial; whether all is as it should be."""
        good = True
        for column in DIALS[name][0]:
            cell = Cell(dialer, listener, scheme, column)
            wrong = trouble or self.wrong(cell, result, seconds)
            number = self.known.number(cell, "\n".join([wrong, *map(text, logs)])) if wrong else None
            self.cells[cell] = "ok" if not wrong else f"known [{number}]" if number else "FAIL"
            good &= not wrong
            print(f"{dialer} -> {listener} over {scheme}: {column}: {self.cells[cell]} ({seconds:.1f} s)", flush=True)
            if wrong:
                self.new_failures += not number
                print(f"  {wrong}\n  {json.dumps(result, ensure_ascii=False)}")
                continue
            for number, entry in self.known.about(cell):
                if not entry.get("sometimes"):
                    print(f"  is listed as known [{number}], and passes: take it off the list")
        if not good:
            for end, log in zip(["dialer", "listener"], logs):
                print("\n".join([f"  the {end} told:", *tail(log)]), flush=True)
        return good

    def wrong(self, cell, result, seconds):
        """What is wrong with what a dialer printed; None when nothing is."""
        error = result["error"]
        match cell.column:
            case "identify, ping":
                return None if isinstance(result["rtt_ms"], (int, float)) else f"no answer to a ping: {error}"
            case "wrong CA" | "wrong peer id":
                if self.cells.get(replace(cell, column="identify, ping"), "ok") != "ok":
                    return "was refused, as is everything else"
                if result["ok"] or result["bytes"]:
                    return "was not refused"
                if seconds >= REFUSING:
                    return f"was not refused at once: {error}"
                if cell.dialer == OURS:
                    words = ["certificate"] if cell.column == "wrong CA" else [STRANGER]
                    absent = [word for word in words if word not in error]
                    return f"was refused, but without {absent}: {error}" if absent else None
                return None
            case column:
                mib = 128 if column == "8 × 16 MiB" else 1
                if not result["ok"]:
                    return f"failed: {error}"
                return None if result["bytes"] == mib << 20 else f"{result['bytes']} bytes came back"

    def table(self):
        rows = dict.fromkeys((cell.dialer, cell.listener, cell.scheme) for cell in self.cells)
        columns = [column for column in COLUMNS if any(cell.column == column for cell in self.cells)]
        lines = [[*row, *(self.cells.get(Cell(*row, column), "–") for column in columns)] for row in rows]
        head = ["dialer", "listener", "over", *columns]
        widths = [max(map(len, column)) for column in zip(head, *lines)]
        for line in [head, ["-" * width for width in widths], *lines]:
            print("| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths)) + " |")
        for number in sorted(self.known.met):
            print(f"\n[{number}] {self.known.entries[number - 1]['evidence']}")


def names(known):
    def parse(text):
        chosen = text.split(",")
        if unknown := [name for name in chosen if name not in known]:
            raise argparse.ArgumentTypeError(f"{unknown} of {list(known)}")
        return chosen

    return parse


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dialers", type=names(NODES), help=f"some of {','.join(NODES)}")
    parser.add_argument("--listeners", type=names(nodes.NODES), help=f"some of {','.join(nodes.NODES)}")
    parser.add_argument("--over", type=names(["ws", "wss"]), default=["ws", "wss"])
    parser.add_argument("--dials", type=names(DIALS), default=list(DIALS), help=f"some of {','.join(DIALS)}")
    parser.add_argument("--known", type=Path, default=nodes.HERE / "known.json")
    return parser.parse_args()


async def main():
    options = arguments()
    if options.dialers or options.listeners:
        dialers, listeners = options.dialers or NODES, options.listeners or nodes.NODES
        pairs = [(dialer, listener) for dialer in dialers for listener in listeners]
    else:
        pairs = [(OURS, listener) for listener in nodes.NODES] + [(dialer, OURS) for dialer in NODES if dialer != OURS]
    nodes.build([NODES[name] for name in dict.fromkeys(name for pair in pairs for name in pair)])

    began = time.monotonic()
    with nodes.certificates() as certs, tempfile.TemporaryDirectory() as logs:
        matrix = Matrix(options, certs, Path(logs))
        for dialer, listener in pairs:
            for scheme in options.over:
                await matrix.pair(dialer, listener, scheme)
    print()
    matrix.table()
    print(f"\n{len(matrix.cells)} cells, {matrix.new_failures} new failures, in {time.monotonic() - began:.0f} s")
    return 1 if matrix.new_failures else 0


sys.exit(asyncio.run(main()))
