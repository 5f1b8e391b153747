#!/bin/sh
# Power cuts replayed from system calls: a run of the store is recorded by strace, and the states in which a cut may have
# left its directory are rebuilt in memory and checked, many a second. So are recoveries from some of these states, for
# power may go again. Mutants that leave syncs out must be caught.
#
# usage: replay.sh [STATES [SEED]]     exit status: 0 good, 1 bad, 2 the method cannot be used on this machine
# POWERCUT_ENCRYPTION=aes-256-gcm or chacha20-poly1305 in the environment: the same with an encrypted store
# POWERCUT_KEEP=1: what failed stays there for another look
set -eu

states=${1:-400}
seed=${2:-1}
# A run of the writer is recorded for so many states; each run is another, by its salt.
record_for=1000
# So many commits bring everything that can happen to a store at least once; after a recovery, so many suffice.
commits=405
commits_after=30
# One recovery for so many states, with so many states of its own.
recovery_for=200
recovery_states=50
mutant_states=200
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
# Nothing needs a medium: a sync counts because it is in the record.
fast=$work
[ -w /dev/shm ] && fast=$(mktemp -d /dev/shm/powercut.XXXXXX)
clean() {
    [ -n "${POWERCUT_KEEP:-}" ] && [ -n "${failed:-}" ] && echo "kept: $work $fast" && return
    rm -rf "$work" "$fast"
}
trap clean EXIT

if ! strace -f -o "$work/probe" true 2>/dev/null; then
    echo "replay: cannot run here: no strace, or no permission to trace" >&2
    exit 2
fi

cd "$here/../.."
target=${CARGO_TARGET_DIR:-$PWD/target}
cargo build --quiet --release -p store --example powercut
cp "$target/release/examples/powercut" "$work/store"
for mutant in no-fdatasync no-dirsync; do
    cargo build --quiet -p store --example powercut --features "mutant-$mutant"
    cp "$target/debug/examples/powercut" "$work/mutant-$mutant"
    # Whoever builds the example next must not find the mutant.
    rm -f "$target/debug/examples/powercut"
done

# Everything that changes a file or a name, and some calls that would if they were made, to be sure that they are not.
calls='?open,openat,?openat2,?creat,close,?dup,?dup2,dup3,fcntl,lseek,write,pwrite64,writev,pwritev,pwritev2'
calls="$calls,truncate,ftruncate,fallocate,copy_file_range,sendfile,splice,fsync,fdatasync,sync,syncfs,sync_file_range"
calls="$calls,?rename,?renameat,renameat2,?link,linkat,?symlink,symlinkat,?unlink,unlinkat,?mkdir,mkdirat,?rmdir"

record() { # writer and its arguments
    strace -f --seccomp-bpf -qq -xx -s 8388608 -e signal=none -e trace="$calls" -o "$work/record" "$@" >"$work/said"
}

run_of() { # writer, salt: records a run from nothing
    rm -rf "$fast/top"
    mkdir -p "$fast/top" "$fast/scratch"
    record "$1" work "$fast/top" "$commits" "$2"
}

replay() { # states, seed, and what else there is to say: checks them with the program that would be released
    "$work/store" replay "$work/record" "$fast/top" "$fast/scratch" "$@"
}

recover() { # recoveries, seed: cuts recoveries from some cuts of what is recorded
    "$work/store" keep "$work/record" "$fast/top" "$fast/kept" "$1" "$(($2 + 1000000))"
    for kept in "$fast"/kept/*; do
        rm -rf "$fast/top"
        cp -R "$kept/before" "$fast/top"
        record "$work/store" resume "$fast/top" "$kept/promise" "$commits_after"
        replay "$recovery_states" "$2" before "$kept/before" >"$work/recovery.log" || {
            cat "$work/recovery.log"
            echo "cut again: seed $2 recovery ${kept##*/}, after $(cat "$kept/promise")" >&2
            exit 1
        }
        rm -rf "$kept"
    done
    echo "the same of $1 recoveries, cut in $(($1 * recovery_states)) states"
}

failed=1
left=$states
salt=$seed
while [ "$left" -gt 0 ]; do
    count=$((left < record_for ? left : record_for))
    echo "store, seed $salt:"
    run_of "$work/store" "$salt"
    replay "$count" "$salt"
    [ "$count" -lt "$recovery_for" ] || recover "$((count / recovery_for))" "$salt"
    left=$((left - count))
    salt=$((salt + 1))
done

for mutant in no-fdatasync no-dirsync; do
    echo "mutant $mutant (its states must fail):"
    status=0
    run_of "$work/mutant-$mutant" "$seed"
    replay "$mutant_states" "$seed" >"$work/mutant.log" 2>&1 || status=$?
    tail -n 1 "$work/mutant.log"
    if [ "$status" -ne 1 ]; then
        echo "the mutant was not caught (status $status): the test is blind" >&2
        exit 1
    fi
done
failed=
