"""The tarball on a newer distribution: Debian trixie, nothing installed but its base, LibTorch from the wheel. ./dev soak trixie.

Needs root, mmdebstrap and a Debian mirror (FTD_DEBIAN_MIRROR, else that of this machine's sources).
"""
import os
import pathlib
import re
import subprocess
import sys
import sysconfig

import pytest
from ftd_fixture import BUILD, REPO, alpaca_rows, write_jsonl
from tiny_model import make_tiny_llama

SITE = pathlib.Path(sysconfig.get_paths()["purelib"])
# In namespaces of its own: mounts, processes and the network (loopback, down) go with the test.
ENTER = ["unshare", "--mount", "--pid", "--net", "--fork", "--kill-child", "--propagation", "private", "sh", "-euc", """
root=$1
mount --bind "$root" "$root"
mkdir -p "$root/opt/package" "$root/opt/data" "$root/opt/site"
mount --bind "$2" "$root/opt/package"
mount --bind "$3" "$root/opt/data"
mount --bind -o ro "$4" "$root/opt/site"
mount -t proc proc "$root/proc"
mount -t tmpfs tmp "$root/tmp"
exec chroot "$root" /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root sh -euc "$5"
""", "enter"]
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


@pytest.fixture
def trixie(tmp_path):
    mirror = os.environ.get("FTD_DEBIAN_MIRROR")
    if not mirror:
        files = [*pathlib.Path("/etc/apt/sources.list.d").glob("*"), pathlib.Path("/etc/apt/sources.list")]
        words = " ".join(file.read_text() for file in files if file.is_file())
        mirror = re.search(r"https?://\S+/debian/?(?=\s)", words)[0]
    root = tmp_path / "trixie"
    subprocess.run(["mmdebstrap", "--quiet", "--variant=minbase", "--mode=root", "trixie", root, mirror], check=True)
    return root


def test_a_job_on_trixie(trixie, tmp_path):
    data = tmp_path / "data"
    make_tiny_llama(data / "model")
    write_jsonl(data / "rows.jsonl", alpaca_rows(16))
    subprocess.run([sys.executable, REPO / "deploy/package.py", BUILD, tmp_path / "package"], check=True)
    done = subprocess.run([*ENTER, trixie, tmp_path / "package", data, SITE, STORY], capture_output=True, text=True, timeout=300)
    print(done.stdout + done.stderr)
    assert done.returncode == 0
