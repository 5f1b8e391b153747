#!/bin/sh
# The power-cut test of the store: nothing acknowledged is lost at any cut, and a store without its fdatasync is caught.
#
# usage: run.sh [CUTS [SEED]]     exit status: 0 good, 1 bad, 2 the method cannot be used on this machine
# POWERCUT_ENCRYPTION=aes-256-gcm or chacha20-poly1305 in the environment: the same with an encrypted store
set -eu

cuts=${1:-25}
seed=${2:-1}
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

cd "$here/../.."
target=${CARGO_TARGET_DIR:-$PWD/target}
cargo build --quiet -p store --example powercut
cp "$target/debug/examples/powercut" "$work/store"
cargo build --quiet -p store --example powercut --features mutant-no-fdatasync
cp "$target/debug/examples/powercut" "$work/mutant"
# Whoever builds the example next must not find the mutant.
rm -f "$target/debug/examples/powercut"

cut() {
    python3 "$here/powercut.py" "$work/disk" --cuts "$cuts" --seed "$seed" --size 96M \
        --run "$work/$1 write {mnt}/store {ack} 600" --check "$work/$1 check {mnt}/store {acked}"
}

echo "store:"
cut store

echo "mutant without fdatasync (its cuts must fail):"
status=0
cut mutant >"$work/mutant.log" || status=$?
tail -n 1 "$work/mutant.log"
if [ "$status" -ne 1 ]; then
    echo "the mutant was not caught (status $status): the test is blind" >&2
    exit 1
fi
