#!/usr/bin/env bash
# run.sh [--quick] [OUT]: checks ftd on this machine's GPU and measures it, in at most SECONDS_MAX (480, quick 90) seconds.
# Needs a Python with torch 2.11 as `python3`, or named in PYTHON; for the comparison transformers and PEFT too. No network.
set -eu
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
python=${PYTHON:-python3}
"$python" -c 'import torch' 2> /dev/null || {
  echo "run.sh: $python has no torch; name a Python that has torch 2.11 in PYTHON" >&2
  exit 1
}
exec "$python" -u "$here/check.py" "$@"
