#!/bin/sh
# SPDX-License-Identifier: LGPL-3.0-only
# What the owner of a job reads when a delegation cannot work: a malformed request, no instance, and a host that refuses the connection.
set -eu
build=$(cd "$(dirname "$0")/.." && pwd)/build
if [ ! -x "$build/flux-delegate" ] || [ ! -e "$build/delegate.so" ]; then
  echo "there is no $build/flux-delegate or delegate.so: run make first" >&2
  exit 1
fi
PATH=$build:$PATH
export PATH
dir=$(mktemp -d /tmp/fd-wrong-XXXXXX)
a=''
stop() {
  [ -z "$a" ] || kill "$a" 2>/dev/null || true
  wait
  rm -rf "$dir"
}
trap stop EXIT
trap 'exit 130' INT TERM
flux-delegate start --name a -N2 -c2 --socket "$dir/a/local" >"$dir/a.out" 2>&1 </dev/null &
a=$!
tries=0
until grep -q FLUX_URI= "$dir/a.out"; do
  tries=$((tries + 1))
  [ $tries -lt 100 ] || { echo "the instance does not start: $(cat "$dir/a.out")" >&2; exit 1; }
  sleep 0.1
done
FLUX_URI=local://$dir/a/local
export FLUX_URI
flux-delegate jobtap load "$build/delegate.so"

# The exception in the job's eventlog says what happened.
failure() {
  flux-delegate job wait-event -q -t 60 "$1" clean
  flux-delegate job eventlog "$1" | grep ' exception '
}

echo "1. Not a URI: rejected at submission"
flux-delegate submit --dependency=delegate:corona true || true

echo "2. There is nothing at that path: the job ends at once"
failure "$(flux-delegate submit --dependency=delegate:local:///nowhere/local true)"

if command -v ssh >/dev/null; then
  echo "3. The host refuses the connection: the job ends at once, with what ssh says"
  failure "$(flux-delegate submit --dependency=delegate:ssh://localhost:1/nowhere/local true)"
fi
