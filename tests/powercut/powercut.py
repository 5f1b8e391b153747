#!/usr/bin/env python3
"""Cuts the power of a disk, at block level, while a program writes to it, and checks what is left.

A program runs on an ext4 file system whose every block write and flush is recorded in order:

    program -> ext4 -> loop device -> FUSE export of qemu-storage-daemon -> blklogwrites -> image + log

Afterwards the disk is rebuilt as a power cut at a chosen moment may have left it: everything up to the last flush is
there; of what was written after that, each write is there, missing, or torn at a sector. The file system recovers by
being mounted, and a second program checks the content. That is what a SIGKILL cannot show: the page cache of the kernel
survives a killed process, and nothing is ever lost.

    powercut.py WORKDIR --run 'WRITER {mnt} {ack}' --check 'CHECKER {mnt} {acked}' [--cuts 25] [--seed 1]

WRITER works below {mnt} and appends a line to {ack}, which lies outside of the disk, whenever something has become
durable. CHECKER gets the number of lines that had been written at the cut, and exits 0 if all is well. Both are run by
a shell. The exit status is 0 if all checks passed, 1 if some failed, 2 if the method cannot be used here.

Needs root, /dev/fuse, loop devices, mke2fs, and qemu-storage-daemon (Debian: qemu-system-common or qemu-utils, and
e2fsprogs). Nothing is installed or left behind; of failed cuts the disk is kept in WORKDIR with --keep.
"""

import argparse
import contextlib
import os
import random
import shlex
import shutil
import signal
import struct
import subprocess
import sys
import threading
import time
from dataclasses import dataclass

SECTOR = 512
LOG_MAGIC = 0x6A736677736872  # dm-log-writes, as in the kernel's documentation
LOG_VERSION = 1
FLUSH, FUA, DISCARD, MARK = 1, 2, 4, 8
TOOLS = ("qemu-storage-daemon", "mke2fs", "losetup", "mount", "umount")
EXPORT_PATIENCE = 20.0  # seconds until the export must be there
WATCH_INTERVAL = 0.0005  # seconds between two looks at the acknowledgements


class CannotRun(Exception):
    """The method cannot be used on this machine."""


def call(*command):
    """Runs a tool; its output, or an exception that carries it."""
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        raise OSError(f"{shlex.join(command)}: {(done.stderr or done.stdout).strip()}")
    return done.stdout.strip()


def require_tools():
    os.environ["PATH"] += ":/usr/sbin:/sbin"
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    if missing:
        raise CannotRun("missing: " + ", ".join(missing))
    if os.geteuid() != 0:
        raise CannotRun("only root may mount")
    for device in ("/dev/fuse", "/dev/loop-control"):
        if not os.path.exists(device):
            raise CannotRun(f"there is no {device}")


@dataclass
class Entry:
    """One entry of the log: a write (with data), a flush, or a discard."""

    end: int  # where the log had come to when it was complete
    offset: int
    flags: int
    data: bytes

    @property
    def flushes(self):
        return bool(self.flags & FLUSH)


def read_log(path):
    """All entries of a log, in order."""
    with open(path, "rb") as log:
        magic, version, count, sector = struct.unpack("<QQQI", log.read(28))
        if magic != LOG_MAGIC or version != LOG_VERSION:
            raise CannotRun("qemu wrote a log of another format")
        position, entries = sector, []
        for _ in range(count):
            log.seek(position)
            start, sectors, flags, data_len = struct.unpack("<QQQQ", log.read(32))
            position += sector
            data = b""
            if flags & MARK:
                position += -(-data_len // sector) * sector
            elif sectors and not flags & DISCARD:
                log.seek(position)
                data = log.read(sectors * sector)
                position += sectors * sector
            entries.append(Entry(position, start * sector, flags, data))
        return entries


class Acknowledgements:
    """Watches the file of acknowledgements and notes how far the log had come when each was seen.

    It is noted after it was seen, so what an acknowledgement promises lies before that place in the log: a cut at or
    after it must keep the promise. (A cut shortly before it need not, so nothing is asked that was not promised.)
    """

    def __init__(self, path, log):
        self.path, self.log = path, log
        self.marks = []  # (length of the log, number of acknowledgements)
        self.stop = threading.Event()
        self.thread = threading.Thread(target=self.watch, daemon=True)

    def watch(self):
        count = 0
        with open(self.path, "rb") as acks:
            while True:
                last = self.stop.is_set()
                new = acks.read().count(b"\n")
                if new:
                    count += new
                    self.marks.append((os.path.getsize(self.log), count))
                if last:
                    return
                time.sleep(WATCH_INTERVAL)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.stop.set()
        self.thread.join()

    def at(self, log_len):
        """How many acknowledgements a cut at this place of the log must keep."""
        return max((count for seen, count in self.marks if seen <= log_len), default=0)

    def total(self):
        return self.marks[-1][1] if self.marks else 0


@contextlib.contextmanager
def loop(image):
    device = call("losetup", "--find", "--show", image)
    try:
        yield device
    finally:
        call("losetup", "--detach", device)


@contextlib.contextmanager
def mounted(device, at):
    call("mount", "-o", "noatime", device, at)
    try:
        yield
    finally:
        for attempt in range(50):
            try:
                call("umount", at)
                break
            except OSError:
                if attempt == 49:
                    raise
                time.sleep(0.1)


@contextlib.contextmanager
def recorded(work):
    """A file that is the disk, every write to it recorded in `log`."""
    export = os.path.join(work, "export")
    open(export, "w").close()
    daemon = subprocess.Popen(
        ["qemu-storage-daemon"]
        + ["--blockdev", f"driver=file,node-name=file,filename={work}/disk,discard=unmap"]
        + ["--blockdev", "driver=raw,node-name=disk,file=file"]
        + ["--blockdev", f"driver=file,node-name=log,filename={work}/log"]
        + ["--blockdev", "driver=blklogwrites,node-name=recorded,file=disk,log=log,"
           "log-sector-size=512,log-super-update-interval=1"]
        + ["--export", f"type=fuse,id=export,node-name=recorded,mountpoint={export},writable=on"],
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        until = time.monotonic() + EXPORT_PATIENCE
        while os.path.getsize(export) == 0:
            if daemon.poll() is not None:
                raise CannotRun("qemu-storage-daemon: " + daemon.stderr.read().strip())
            if time.monotonic() > until:
                raise CannotRun("qemu-storage-daemon does not export the disk")
            time.sleep(0.02)
        yield export
    finally:
        daemon.send_signal(signal.SIGTERM)
        daemon.wait()


def prepare(work, size, mkfs):
    os.makedirs(os.path.join(work, "mnt"), exist_ok=True)
    for name in ("disk", "base", "log", "acks", "cut"):
        with open(os.path.join(work, name), "wb"):
            pass
    disk = os.path.join(work, "disk")
    call("truncate", "-s", size, disk)
    call(*shlex.split(mkfs), disk)
    call("cp", "--sparse=always", disk, os.path.join(work, "base"))


def record(work, run):
    """Runs the writer and returns what it acknowledged and the log."""
    acks, log, mnt = (os.path.join(work, name) for name in ("acks", "log", "mnt"))
    started = time.monotonic()
    with recorded(work) as export, loop(export) as device, mounted(device, mnt):
        with Acknowledgements(acks, log) as seen:
            done = subprocess.run(run.format(mnt=shlex.quote(mnt), ack=shlex.quote(acks)), shell=True)
        if done.returncode != 0:
            raise OSError(f"the writer failed with status {done.returncode}")
    entries = read_log(log)
    writes, flushes = sum(1 for e in entries if e.data), sum(1 for e in entries if e.flushes)
    size = sum(len(e.data) for e in entries)
    print(
        f"recorded {time.monotonic() - started:.1f} s: {seen.total()} acknowledgements, "
        f"{writes} writes of {size} bytes, {flushes} flushes"
    )
    if seen.total() == 0:
        raise OSError("the writer acknowledged nothing")
    return seen, entries


def choose_cuts(entries, seen, count, rnd):
    """Moments for cuts: half of them anywhere, half of them when an acknowledgement had just been given."""
    ends = {entry.end: index for index, entry in enumerate(entries)}
    just_acked = sorted({ends[log_len] for log_len, _ in seen.marks if log_len in ends})
    cuts = []
    for number in range(count):
        if number % 2 and just_acked:
            cuts.append(rnd.choice(just_acked))
        else:
            cuts.append(rnd.randrange(len(entries)))
    return cuts


def survivors(entries, cut, rnd):
    """What is on the medium after a cut: (offset, bytes) in order. One of three kinds of disk is met each time."""
    last_flush = max((i for i, e in enumerate(entries[: cut + 1]) if e.flushes), default=-1)
    keep, tear = rnd.choice(((0.0, 0.0), (0.5, 0.5), (0.8, 0.2)))
    for index, entry in enumerate(entries[: cut + 1]):
        if not entry.data:
            continue
        safe = index < last_flush or entry.flags & FUA
        if safe or rnd.random() < keep:
            yield entry.offset, entry.data
        elif rnd.random() < tear:
            sectors = len(entry.data) // SECTOR
            yield entry.offset, entry.data[: SECTOR * rnd.randrange(sectors)]


def check_cut(work, entries, cut, acked, check, rnd):
    """Rebuilds the disk as of a cut, mounts and checks it; None if all is well, else what is wrong."""
    image, mnt = os.path.join(work, "cut"), os.path.join(work, "mnt")
    call("cp", "--sparse=always", os.path.join(work, "base"), image)
    with open(image, "r+b") as disk:
        for offset, data in survivors(entries, cut, rnd):
            disk.seek(offset)
            disk.write(data)
    try:
        with loop(image) as device, mounted(device, mnt):
            command = check.format(mnt=shlex.quote(mnt), acked=acked)
            done = subprocess.run(command, shell=True, capture_output=True, text=True)
    except OSError as error:
        return str(error)
    if done.returncode == 0:
        return None
    return (done.stdout + done.stderr).strip()[-400:] or f"status {done.returncode}"


def parse_args():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", metavar="WORKDIR")
    parser.add_argument("--run", required=True, metavar="WRITER")
    parser.add_argument("--check", required=True, metavar="CHECKER")
    parser.add_argument("--cuts", type=int, default=25)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--size", default="64M", help="of the disk")
    parser.add_argument("--mkfs", default="mke2fs -q -F -t ext4")
    parser.add_argument("--keep", action="store_true", help="keep the disks of failed cuts")
    return parser.parse_args()


def main():
    args = parse_args()
    work = os.path.abspath(args.work)
    rnd = random.Random(args.seed)
    try:
        require_tools()
        os.makedirs(work, exist_ok=True)
        prepare(work, args.size, args.mkfs)
        seen, entries = record(work, args.run)
    except CannotRun as error:
        print(f"powercut: cannot run here: {error}", file=sys.stderr)
        return 2
    failed = 0
    for number, cut in enumerate(choose_cuts(entries, seen, args.cuts, rnd)):
        acked = seen.at(entries[cut].end)
        wrong = check_cut(work, entries, cut, acked, args.check, rnd)
        if wrong is not None:
            failed += 1
            print(f"cut {number} at entry {cut} of {len(entries)}, {acked} acknowledged: {wrong}")
            if args.keep:
                call("cp", "--sparse=always", os.path.join(work, "cut"), os.path.join(work, f"failed-{number}"))
    print(f"{args.cuts - failed} of {args.cuts} cuts passed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
