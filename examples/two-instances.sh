#!/bin/sh
# SPDX-License-Identifier: LGPL-3.0-only
# Two instances, A and B. Ten jobs are submitted to A and run on B. Shows both sides, then stops everything.
set -eu
build=$(cd "$(dirname "$0")/.." && pwd)/build
if [ ! -x "$build/flux-delegate" ] || [ ! -e "$build/delegate.so" ]; then
  echo "there is no $build/flux-delegate or delegate.so: run make first" >&2
  exit 1
fi
PATH=$build:$PATH
export PATH
dir=$(mktemp -d /tmp/fd-two-XXXXXX)
a='' b=''
stop() {
  for pid in $a $b; do kill "$pid" 2>/dev/null || true; done
  wait
  rm -rf "$dir"
}
trap stop EXIT
trap 'exit 130' INT TERM

# An instance prints FLUX_URI=... as soon as it serves.
ready() {
  tries=0
  until grep -q FLUX_URI= "$1"; do
    tries=$((tries + 1))
    [ $tries -lt 100 ] || { echo "the instance does not start: $(cat "$1")" >&2; exit 1; }
    sleep 0.1
  done
}
flux-delegate start --name a -N2 -c2 --socket "$dir/a/local" >"$dir/a.out" 2>&1 </dev/null &
a=$!
flux-delegate start --name b -N2 -c4 --socket "$dir/b/local" >"$dir/b.out" 2>&1 </dev/null &
b=$!
ready "$dir/a.out"
ready "$dir/b.out"
A=local://$dir/a/local
B=local://$dir/b/local

flux-delegate --uri "$A" jobtap load "$build/delegate.so"
# The job's shell expands these, not this one.
# shellcheck disable=SC2016
flux-delegate --uri "$A" submit --cc=1-10 --job-name=ten --dependency=delegate:"$B" \
  sh -c 'echo "job $FLUX_JOB_CC ran on $(hostname)"' >"$dir/ids"

# At A a job ends as soon as B has accepted it. B's id of it is in A's eventlog.
while read -r id; do
  flux-delegate --uri "$A" job wait-event -q -t 30 "$id" clean
  flux-delegate --uri "$A" job eventlog "$id" | sed -n 's/.* delegated jobid=//p'
done <"$dir/ids" >"$dir/remote-ids"

echo "A: every job ended with DelegationSuccess"
flux-delegate --uri "$A" jobs -a -o endreason
echo
echo "B: the same jobs, by the ids that A's eventlogs name, and what they printed"
while read -r id; do
  flux-delegate --uri "$B" job wait-event -q -t 30 "$id" clean
  flux-delegate --uri "$B" job attach "$id" </dev/null
done <"$dir/remote-ids"
flux-delegate --uri "$B" jobs -a
