#!/usr/bin/env python3
"""What inputs reach of the decoders, out of `llvm-cov export`: a table by file, then the functions that nothing calls, then
every region and branch of the others that was not reached, with its line. A region is a stretch of code that runs as a
whole (an arm, the way out of a `?`); a branch is one outcome of a condition. All instances of a generic function count as
one. Regions and branches are counted in functions that something calls: what nobody calls is no part of a decoder, or a
target is missing, which the list tells. Usage: coverage.py EXPORT ROOT LIST: the table goes to the terminal, what was not
reached one by one to LIST."""

import json
import os
import sys

# Where bytes from outside are read.
DECODERS = ("platform/wire/src/", "platform/model/src/body", "platform/model/src/declarative/", "platform/model/src/kinds",
            "platform/model/src/schema/", "platform/store/src/frame.rs", "platform/store/src/run", "platform/store/src/seal.rs",
            "platform/store/src/peek/", "platform/store/src/journal.rs", "platform/store/src/layout.rs",
            "platform/store/src/cipher.rs", "cp-lite/src/backup.rs", "cp-lite/src/changelog/record.rs", "gateway/src/state.rs")
CODE = 0  # the kind of regions that are code


def main():
    root = os.path.realpath(sys.argv[2]) + "/"
    files = {}
    for function in json.load(open(sys.argv[1]))["data"][0]["functions"]:
        names = [os.path.realpath(name).removeprefix(root) for name in function["filenames"]]
        first = function["regions"][0]
        if not names[first[5]].startswith(DECODERS):
            continue
        # Instances of one function begin at the same place.
        regions, branches = files.setdefault(names[first[5]], {}).setdefault(tuple(first[:2]), ({}, {}))
        for *place, count, _, _, kind in function["regions"]:
            if kind == CODE:
                most(regions, tuple(place), count)
        for *place, yes, no, _, _, _ in function.get("branches", []):
            most(branches, (*place, "true"), yes)
            most(branches, (*place, "false"), no)
    print("| file | functions called | regions | branches |\n|---|---|---|---|")
    uncalled, missed, all_regions, all_branches = [], [], [], []
    for name, functions in sorted(files.items()):
        lines = open(root + name).read().split("\n")
        called = [both for both in functions.values() if any(both[0].values())]
        uncalled += [(name, at, lines[at - 1]) for (at, _), both in sorted(functions.items()) if both not in called]
        regions = [count for both in called for count in both[0].values()]
        branches = [count for both in called for count in both[1].values()]
        all_regions += regions
        all_branches += branches
        print(f"| `{name}` | {len(called)}/{len(functions)} | {reached(regions)} | {reached(branches)} |")
        for both in called:
            missed += [(name, place, lines[place[0] - 1]) for part in both for place, count in part.items() if not count]
    print(f"| together | | {reached(all_regions)} | {reached(all_branches)} |")
    with open(sys.argv[3], "w") as out:
        print("functions that nothing calls", file=out)
        for name, at, line in uncalled:
            print(f"{name}:{at}: {line.strip()}", file=out)
        print("\nregions and branches that nothing reaches", file=out)
        for name, place, line in sorted(missed, key=lambda miss: (miss[0], miss[1][:2])):
            outcome = f" never {place[4]}:" if len(place) > 4 else ""
            print(f"{name}:{place[0]}:{place[1]}:{outcome} {line.strip()}", file=out)
    branches = sum(1 for _, place, _ in missed if len(place) > 4)
    print(f"\n{len(missed) - branches} regions and {branches} outcomes of conditions, each with its line: {sys.argv[3]}")


def most(counts, place, count):
    counts[place] = max(counts.get(place, 0), count)


def reached(counts):
    return f"{sum(1 for count in counts if count)}/{len(counts)}"


main()
