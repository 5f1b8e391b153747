#!/usr/bin/env python3
"""Records which functions a data plane runs from its start until it rests, and writes them to gateway/start.ld.

The kernel maps a program 64 KiB at a time. Functions lie in the order of the sources, so that a start, which runs a
quarter of them, has nearly all pages of the program resident. start.ld tells the linker to put what a start runs
together: half of the memory of a data plane at rest. A function that is not in the list costs nothing but its place in
the crowd, so the list is recorded anew when the ledger says so, not with every change.

    tests/order/record.py [PROGRAMS]

builds edge-gateway with its symbols (in target/order) and takes cp-lite for a certificate from PROGRAMS, by default
target/release. Needs valgrind.
"""

import os
import re
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections import Counter
from fnmatch import fnmatchcase
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
OUT = ROOT / "gateway" / "start.ld"
PATIENCE_S = 120
# As the program sets them for itself: with them there, it does not replace itself by a new one.
ENVIRONMENT = {"MALLOC_TRIM_THRESHOLD_": "131072", "MALLOC_ARENA_MAX": "1"}
# What runs in one start and not in the next: locks, by how threads happen to meet, and sorting of what lies in random order.
BY_CHANCE = {
    "_R*_3std3sys4sync*",
    "_ZN11parking_lot*",
    "_ZN16parking_lot_core*",
    "_ZN4core5slice4sort6shared9smallsort11insert_tail*",
}
HEAD = """/* What a data plane runs from its start until it rests, so that it lies together in the program: the kernel maps pages in
   groups of sixteen. Written by tests/order/record.py, which says more. Names without their hashes; the list needs
   not be complete. */
SECTIONS {
  .text.start : {
"""
# Behind the rest, for that ends with what ring has in assembly, of which a start runs some.
TAIL = """  }
} INSERT AFTER .text;
"""


def build():
    subprocess.run(
        ["cargo", "rustc", "--release", "-p", "gateway", "--bin", "edge-gateway"]
        + ["--target-dir", ROOT / "target" / "order", "--", "-C", "strip=none"],
        check=True,
        cwd=ROOT,
    )
    return ROOT / "target" / "order" / "release" / "edge-gateway"


def ports(log):
    """The addresses of the listeners, from the program's log."""
    return re.findall(r'listener="?(\w+)"? address=(\S+)', log.read_text())


def answers(address):
    try:
        urllib.request.urlopen(f"http://{address}/", timeout=5)
    except urllib.error.HTTPError:
        return True  # 404: nothing is configured
    except OSError:
        return False
    return True


def record(program, cp_lite, scratch):
    """Starts the program as the ledger does, and returns what callgrind saw until its first answer and a little after."""
    certificate, key, settings = scratch / "c.crt", scratch / "c.key", scratch / "gateway.toml"
    subprocess.run([cp_lite, "hybrid", "gen_cert", certificate, key], check=True, stdout=subprocess.DEVNULL)
    settings.write_text(
        f'prefix = "{scratch}/state"\n'
        'proxy_listen = "127.0.0.1:0, 127.0.0.1:0 ssl"\nstatus_listen = "127.0.0.1:0"\nproxy_access_log = "off"\n'
        f'cluster_cert = "{certificate}"\ncluster_cert_key = "{key}"\ncluster_control_plane = "127.0.0.1:1"\n'
    )
    log, profile = scratch / "log", scratch / "profile"
    valgrind = ["valgrind", "--tool=callgrind", "--demangle=no", f"--callgrind-out-file={profile}"]
    with open(log, "wb") as stderr:
        process = subprocess.Popen(
            valgrind + [program, "run", "-c", settings], stderr=stderr, env=os.environ | ENVIRONMENT
        )
    try:
        deadline = time.monotonic() + PATIENCE_S
        while not any(name == "proxy" and answers(address) for name, address in ports(log)):
            if time.monotonic() > deadline or process.poll() is not None:
                sys.exit(f"it never answers:\n{log.read_text()}")
            time.sleep(0.2)
        time.sleep(2)
        # What stopping runs is not asked for.
        subprocess.run(["callgrind_control", "--dump", str(process.pid)], check=True, stdout=subprocess.DEVNULL)
        dump = Path(f"{profile}.1")
        while not (dump.exists() and "\ntotals:" in dump.read_text()):
            if time.monotonic() > deadline:
                sys.exit("callgrind wrote no profile")
            time.sleep(0.2)
    finally:
        process.kill()
        process.wait()
    return dump


def functions(profile, program):
    """The mangled names of the program's own functions that ran."""
    found, objects, here, there = set(), {}, None, None
    # callgrind knows the object of one section of code, and names of all: start.ld makes two.
    ours = (str(program), "???")
    for line in profile.read_text().splitlines():
        if match := re.match(r"(c?)ob=\((\d+)\)(?: (.+))?$", line):
            of_a_call, number, name = match.groups()
            objects.setdefault(number, name)
            # A call's object is told only where it is another one.
            here, there = (here, objects[number]) if of_a_call else (objects[number], None)
        elif match := re.match(r"(c?)fn=\(\d+\)(?: (\S+))?$", line):
            of_a_call, name = match.groups()
            # Each name stands at its first occurrence only.
            if name and ((there or here) if of_a_call else here) in ours:
                found.add(name)
            there = None
    return found


def pattern(name):
    """A name without what changes from build to build: the hash at the end, and those of crates."""
    name = re.sub(r"'\d+$", "", name)
    name = re.sub(r"\.\d+$", "*", name)
    name = re.sub(r"17h[0-9a-f]{16}E.*$", "*", name)
    return re.sub(r"Cs[0-9A-Za-z]+_", "Cs*_", name)


def modules(program, names):
    """Our own modules of which half ran, as patterns: what comes to be in them later belongs there as well."""
    total, ran = Counter(), Counter()
    symbols = subprocess.run(["nm", "-S", "--defined-only", program], check=True, capture_output=True, text=True)
    for line in symbols.stdout.splitlines():
        if match := re.match(r"\w+ (\w+) [tT] ((_ZN(?:7gateway|5store|2os|8settings|3pki)(\d+))(\w+).*)$", line):
            size, name, crate, length, rest = match.groups()
            module = crate + rest[: int(length)] + "*"
            total[module] += int(size, 16)
            ran[module] += int(size, 16) * (name in names)
    return {module for module, size in total.items() if ran[module] * 2 >= size}


def main():
    program = build()
    programs = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "target" / "release"
    with tempfile.TemporaryDirectory() as scratch:
        profile = record(program, programs / "cp-lite", Path(scratch))
        names = functions(profile, program)
    groups = modules(program, names) | BY_CHANCE
    names = {pattern(name) for name in names if re.fullmatch(r"[A-Za-z_][\w.$']*", name)}
    patterns = sorted(groups | {name for name in names if not any(fnmatchcase(name, group) for group in groups)})
    OUT.write_text(HEAD + "".join(f"    *(.text*.{name})\n" for name in patterns) + TAIL)
    print(f"{len(patterns)} names")


if __name__ == "__main__":
    main()
