#!/bin/sh
# SPDX-License-Identifier: LGPL-3.0-only
# The same over ssh: A reaches B through a real OpenSSH server on loopback, with keys of its own. Needs openssh-server.
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
build=$root/build
if [ ! -x "$build/flux-delegate" ] || [ ! -e "$build/delegate.so" ]; then
  echo "there is no $build/flux-delegate or delegate.so: run make first" >&2
  exit 1
fi
PATH=$build:$PATH
export PATH
dir=$(mktemp -d /tmp/fd-ssh-XXXXXX)
a='' b=''
stop() {
  for pid in $a $b; do kill "$pid" 2>/dev/null || true; done
  # The server's standard input ends, and so does the server.
  exec 9>&-
  wait
  rm -rf "$dir"
}
# Waits for a line in a file.
ready() {
  tries=0
  until grep -q "$1" "$2"; do
    tries=$((tries + 1))
    [ $tries -lt 100 ] || { echo "no '$1' in 10 s: $(cat "$2")" >&2; exit 1; }
    sleep 0.1
  done
}

# The server lives as long as descriptor 9 is open.
mkfifo "$dir/hold"
sh "$root/scripts/ssh-server" "$dir/sshd" <"$dir/hold" >"$dir/sshd.out" 2>&1 &
exec 9>"$dir/hold"
trap stop EXIT
trap 'exit 130' INT TERM
ready '^ready' "$dir/sshd.out"
# The agent of A inherits this. With your own hosts you do not need it: then it is the ssh on your PATH, with your configuration.
FLUX_SSH=$dir/sshd/ssh
export FLUX_SSH

flux-delegate start --name a -N1 -c2 --socket "$dir/a/local" >"$dir/a.out" 2>&1 </dev/null 9>&- &
a=$!
flux-delegate start --name b -N2 -c4 --socket "$dir/b/local" >"$dir/b.out" 2>&1 </dev/null 9>&- &
b=$!
ready FLUX_URI= "$dir/a.out"
ready FLUX_URI= "$dir/b.out"
A=local://$dir/a/local
B=ssh://localhost$dir/b/local

echo "B, asked over ssh:"
flux-delegate --uri "$B" resource list
flux-delegate --uri "$A" jobtap load "$build/delegate.so"
id=$(flux-delegate --uri "$A" submit --dependency=delegate:"$B" -N2 -n2 hostname)
flux-delegate --uri "$A" job wait-event -q -t 30 "$id" clean
echo "A's eventlog of the job:"
flux-delegate --uri "$A" job eventlog "$id"
remote=$(flux-delegate --uri "$A" job eventlog "$id" | sed -n 's/.* delegated jobid=//p')
echo "and its output, from B:"
flux-delegate --uri "$B" job attach "$remote"
