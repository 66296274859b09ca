"""A run's results: one JSON object a line, as the programs of this package write them."""

import json
import statistics


def load(paths):
    """All lines of the files, by point and row; what comes later replaces what came before."""
    found = {}
    for path in paths:
        with open(path, encoding="utf-8") as lines:
            for line in lines:
                if line.strip():
                    one = json.loads(line)
                    found[one["point"], one["row"]] = one
    return found


def ratio(found, point, row, over):
    """The median over the rounds of what `row` took, divided by what `over` took in the same round; None if not measured."""
    mine, limit = found.get((point, row)), found.get((point, over))
    if mine is None or limit is None:
        return None
    return statistics.median(a / b for a, b in zip(mine["samples"], limit["samples"]))
