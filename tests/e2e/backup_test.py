"""docs/guide.md's backup and restore, with its own tar: a daemon that lost all goes on from the archive, bit for bit."""
import pathlib
import re
import shutil
import subprocess

from conftest import submit, wait_for_step, weights
from ftd_fixture import Ftd

GUIDE = pathlib.Path(__file__).resolve().parents[2] / "docs" / "guide.md"
FLAGS = dict(mode="lora", learning_rate=1e-3, seed=3, max_steps=240, save_steps=20)


def archive(state_dir, target):
    """As the guide says it, but for sudo and the places."""
    line = re.search(r"^sudo (tar .*) -C /var/lib/ftd -czf ftd-backup\.tar\.gz \.$", GUIDE.read_text(), re.M)
    subprocess.run([*line[1].split(), "-C", state_dir, "-czf", target, "."], check=True)


def test_backup_and_restore(model, dataset, tmp_path):
    backup = tmp_path / "ftd-backup.tar.gz"
    with Ftd() as ftd:
        whole = weights(ftd.wait(submit(ftd, model, dataset, **FLAGS), "SUCCEEDED").result_dir)
    with Ftd() as ftd:
        ended = submit(ftd, model, dataset, name="ended", mode="lora", max_steps=2)
        ftd.wait(ended, "SUCCEEDED")
        running = submit(ftd, model, dataset, name="running", **FLAGS)
        waiting = submit(ftd, model, dataset, name="waiting", mode="lora", max_steps=2)
        wait_for_step(ftd, running, 50)
        assert ftd.terminate() == 0
        archive(ftd.state_dir, backup)
        shutil.rmtree(ftd.state_dir)
        ftd.start()
        assert ftd.ftctl("ls", "-o", "json").stdout.strip() == "[]", "all was lost"
        assert ftd.terminate() == 0
        shutil.rmtree(ftd.state_dir)
        ftd.state_dir.mkdir()
        subprocess.run(["tar", "-xzf", backup, "-C", ftd.state_dir], check=True)
        assert not (ftd.state_dir / "tokens").exists()
        ftd.start()
        assert weights(ftd.wait(running, "SUCCEEDED").result_dir) == whole
        assert [s.step for s in ftd.steps(running)] == list(range(1, 241))
        ftd.wait(waiting, "SUCCEEDED")
        ftd.ftctl("get", "ended", tmp_path / "ended", "--quiet")
        assert (tmp_path / "ended" / "adapter_model.safetensors").exists()
