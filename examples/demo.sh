#!/usr/bin/env bash
# Fine-tunes SmolLM2-135M-Instruct on examples/fen.jsonl with a private ftd: what `./dev demo` runs after the build.
# usage: demo.sh BIN_DIR PYTHON
set -euo pipefail
bin=$1 python=$2
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
demo=$root/build/demo

say() { printf '\n== %s\n' "$*"; }

say "The model: SmolLM2-135M-Instruct, out of a GGUF, once"
model=$("$python" "$root/examples/smollm2.py")
printf '%s\n' "$model"

# A socket's path is at most 108 bytes, a clone's may be longer.
socket_dir=$(mktemp -d)
daemon=
finish() {
  [ -z "$daemon" ] || { kill "$daemon" && wait "$daemon"; } 2>/dev/null || true
  rm -rf "$socket_dir"
}
trap finish EXIT
address=unix:$socket_dir/ftd.sock
rm -rf "$demo"
mkdir -p "$demo"
"$bin/ftd" --state-dir "$demo/state" --listen "$address" --metrics-listen off >"$demo/ftd.log" 2>&1 &
daemon=$!
for _ in $(seq 100); do
  "$bin/ftctl" --address "$address" info >/dev/null 2>&1 && break
  kill -0 "$daemon" 2>/dev/null || { cat "$demo/ftd.log" >&2; exit 1; }
  sleep 0.1
done
ftctl() { "$bin/ftctl" --address "$address" "$@"; }

say "A job: LoRA on $(wc -l <"$root/examples/fen.jsonl") rows in the voice of Fen, a lighthouse keeper"
job=$(ftctl submit --quiet --name fen --mode lora --model "$model" --dataset "$root/examples/fen.jsonl" \
  --batch-size 4 --seq-length 256 --max-steps 60 --learning-rate 1e-3 --lora-rank 8 --lora-alpha 16)
printf '%s\n' "$job"

say "Live (Ctrl-C ends the watching; this demo then ends its ftd too)"
ftctl watch "$job"

say "The loss"
ftctl metrics "$job" -o jsonl | sed -n 's/.*"loss": *\([0-9.eE+-]*\).*/\1/p' |
  awk '{ l[NR] = $1 } END {
    for (i = 1; i <= 5; i++) { first += l[i] / 5; last += l[NR - 5 + i] / 5 }
    printf "mean of steps 1-5: %.3f   mean of steps %d-%d: %.3f\n", first, NR - 4, NR, last
    exit !(last < first)
  }'

say "The result: a PEFT adapter"
result=$demo/fen
rm -rf "$result"
ftctl get "$job" "$result"
ls -l "$result"

cat <<NEXT

== What to type next
ask it something:        ./dev python examples/ask.py build/demo/fen "What is a comet?"
a daemon of your own:    build/bin/ftd &
                         build/bin/ftctl submit --mode lora --model $model --dataset YOUR.jsonl --watch
one job without set-up:  build/bin/ftctl run --mode full --model $model --dataset YOUR.jsonl --output-dir out/
NEXT
