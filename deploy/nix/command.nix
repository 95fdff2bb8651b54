# `nix run . -- VERB …`: `demo` fine-tunes a small model of the hub here and now; every other verb is ftctl's.
{ ftd, writeShellScriptBin }:
writeShellScriptBin "ftd-command" ''
  set -eu
  if [ "''${1-}" != demo ]; then
    exec ${ftd}/bin/ftctl "$@"
  fi
  shift
  exec ${ftd}/bin/ftctl run --mode lora --model smollm2-135m \
    --dataset ${ftd}/share/ftd/examples/fen.jsonl --name fen --batch-size 4 --seq-length 256 --max-steps 60 \
    --learning-rate 1e-3 --lora-rank 8 --lora-alpha 16 --output-dir ./fen "$@"
''
