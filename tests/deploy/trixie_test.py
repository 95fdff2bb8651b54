"""The tarball on a newer distribution: Debian trixie, nothing installed but its base, LibTorch from the wheel. ./dev soak trixie."""
import pathlib
import subprocess
import sys
import sysconfig

from ftd_fixture import BUILD, REPO, alpaca_rows, write_jsonl
from tiny_model import make_tiny_llama
from trixie import make_trixie, run_in

SITE = pathlib.Path(sysconfig.get_paths()["purelib"])
STORY = """
grep -q trixie /etc/os-release
test ! -e /usr/bin/python3
mkdir /opt/ftd && tar xzf /opt/package/*.tar.gz --strip-components=1 -C /opt/ftd
ln -s /opt/site/torch /opt/ftd/lib/ftd/torch
export PATH=/opt/ftd/bin:$PATH
ftd --listen unix:/tmp/s --state-dir /tmp/state --metrics-listen off 2> /tmp/ftd.log &
daemon=$!
export FTCTL_ADDRESS=unix:/tmp/s
until ftctl info > /dev/null 2>&1; do kill -0 $daemon || { cat /tmp/ftd.log; exit 1; }; sleep 0.1; done
ftctl submit --mode lora --model /opt/data/model --dataset /opt/data/rows.jsonl --max-steps 5 --batch-size 4 --name first --watch
ftctl get first /tmp/result
test -s /tmp/result/adapter_model.safetensors
ft-train --mode full --model_name /opt/data/model --dataset /opt/data/rows.jsonl --max_steps 3 --batch_size 4 --output_dir /tmp/full
test -s /tmp/full/model.safetensors
kill $daemon; wait $daemon
"""


def test_a_job_on_trixie(tmp_path):
    root, data = make_trixie(tmp_path / "trixie"), tmp_path / "data"
    make_tiny_llama(data / "model")
    write_jsonl(data / "rows.jsonl", alpaca_rows(16))
    subprocess.run([sys.executable, REPO / "deploy/package.py", BUILD, tmp_path / "package"], check=True)
    mounts = [(tmp_path / "package", "/opt/package", "rw"), (data, "/opt/data", "rw"), (SITE, "/opt/site", "ro")]
    done = run_in(root, STORY, mounts, timeout=300)
    print(done.stdout + done.stderr)
    assert done.returncode == 0
