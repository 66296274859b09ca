#!/usr/bin/env python3
"""Runs the Autobahn cases against the example `autobahn`, both ways round, and prints what came out.

`messages` is a message-level echo on the crate's `proto`: every case has to pass by Autobahn's own judgement. `bytes` is
the byte stream, which knows neither messages nor text: of the cases, those that carry no text are judged likewise, but for
what `judge_bytes` says, and the others have to be answered with Close 1003.
"""

import argparse
import asyncio
import collections
import os
import sys

from kosoku import FailureError, run_fuzzingclient, run_fuzzingserver

# permessage-deflate, which is never negotiated.
COMPRESSION = ["12.*", "13.*"]
# Binary messages of which each is waited for in one piece, for up to 100 s: a byte stream gives the bytes back in others.
WHOLE_MESSAGES = ["9.2.*", "9.4.*", "9.6.*", "9.8.1"]
EXCLUDED = {"messages": COMPRESSION, "bytes": COMPRESSION + WHOLE_MESSAGES}
CASES = {"messages": 301, "bytes": 279}
# Cases that do little but wait may wait together.
AT_ONCE = 4
# For a run of all cases, in seconds.
TIMEOUT = 900

PASSED = ("OK", "NON-STRICT", "INFORMATIONAL")
TEXT = 1


async def as_server(example, layer):
    """The example serves, Autobahn is the client."""
    server = await asyncio.create_subprocess_exec(
        example, layer, "server", "127.0.0.1:0", stdout=asyncio.subprocess.PIPE
    )
    try:
        address = (await server.stdout.readline()).decode().split()[-1]
        return await run_fuzzingclient(f"ws://{address}", None, EXCLUDED[layer], concurrency=AT_ONCE)
    except FailureError as failure:
        return failure.results
    finally:
        server.kill()
        await server.wait()


async def as_client(example, layer):
    """Autobahn serves, the example is the client."""
    async with run_fuzzingserver(None, EXCLUDED[layer], host="127.0.0.1", port=0) as server:
        client = await asyncio.create_subprocess_exec(
            example, layer, "client", f"{server.address}:{server.port}"
        )
        try:
            results = await server.get_result()
        except FailureError as failure:
            results = failure.results
        status = await client.wait()
        if status != 0:
            sys.exit(f"the client ended with {status}")
        return results


def judge_messages(result):
    """The verdict, and a complaint if the case failed: Autobahn's own judgement."""
    behavior, close = result.behavior.value, result.behavior_close.value
    if behavior in PASSED and close in PASSED:
        return behavior.lower(), None
    code = result.remote_close_code
    return "failed", f"{behavior}: {result.result} Close {close} ({code}): {result.result_close}"


def judge_bytes(result):
    """As `judge_messages`, with what is right for a byte stream."""
    verdict, complaint = judge_messages(result)
    if complaint is None:
        return verdict, None
    if TEXT in result.tx_frame_stats:
        return ("text refused", None) if result.remote_close_code == 1003 else (verdict, complaint)
    expected, received = result.expected["OK"], result.received
    # Of several Pings only the last has to be answered (RFC 6455 5.5.3).
    if expected and all(event[0] == "pong" for event in expected) and received[-1:] == expected[-1:]:
        return "last ping", None
    # The same bytes in other messages, or no message for no bytes.
    if expected and all(event[0] == "message" for event in expected) and content(received) == content(expected):
        return "other frames", None
    return verdict, complaint


def content(events):
    """The bytes of all messages."""
    return "".join(event[1] for event in events if event[0] == "message")


async def run(example, runner, layer):
    """Counts the verdicts of each group, and gives the complaints."""
    judge = {"messages": judge_messages, "bytes": judge_bytes}[layer]
    results = await asyncio.wait_for(runner(example, layer), TIMEOUT)
    groups, complaints = collections.defaultdict(collections.Counter), []
    for result in results:
        verdict, complaint = judge(result)
        groups[int(result.case_id.split(".")[0])][verdict] += 1
        if complaint:
            complaints.append(f"{layer} {runner.__name__}: {result.case_id}: {complaint}")
    if len(results) != CASES[layer]:
        complaints.append(f"{layer} {runner.__name__}: {len(results)} cases were run, not {CASES[layer]}")
    return groups, complaints


async def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--example", required=True, help="path of the compiled example `autobahn`")
    example = parser.parse_args().example

    columns, complaints = [], []
    for layer in ("messages", "bytes"):
        for runner in (as_server, as_client):
            groups, more = await run(example, runner, layer)
            total = sum(groups.values(), collections.Counter())
            columns.append((f"{layer}, {runner.__name__.replace('_', ' ')}", groups, total))
            complaints += more

    def row(*cells):
        print("|", " | ".join(cells), "|", flush=True)

    def cell(counter):
        return ", ".join(f"{counter[verdict]} {verdict}" for verdict in sorted(counter)) or "-"

    row("group", *(title for title, _, _ in columns))
    row(*["---"] * (1 + len(columns)))
    for number, name in GROUPS.items():
        row(f"{number} {name}", *(cell(groups[number]) for _, groups, _ in columns))
    row("all", *(cell(total) for _, _, total in columns))
    for complaint in complaints:
        print(complaint, file=sys.stderr)
    return 1 if complaints else 0


GROUPS = {
    1: "framing",
    2: "pings and pongs",
    3: "reserved bits",
    4: "opcodes",
    5: "fragmentation",
    6: "UTF-8",
    7: "closing",
    9: "limits",
    10: "auto-fragmentation",
}

status = asyncio.run(main())
sys.stderr.flush()
# Not by the interpreter's own end: kosoku's threads still run then, and one that wants the interpreter while it is taken
# down aborts the process, although every case has passed (seen in one of 25 runs on a busy machine).
os._exit(status)
