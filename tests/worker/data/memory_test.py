"""Memory does not grow with the file: a worker that trains on 200 MB needs hardly more than one that trains on 200 KB."""
import pathlib
import random

from ftd_fixture import Ftd, wait_until

ENDLESS = 10_000_000
WORDS = "the quick brown fox jumps over a lazy dog while rain falls on seven green hills and the list repeats".split()
ALLOWED = 64 << 20  # for the pipeline's buffers and 16 bytes of visiting order a row


def write_rows(path, size, seed=1):
    """About `size` bytes of text rows, some of them long, none like another."""
    rng = random.Random(seed)
    paragraphs = [" ".join(rng.choice(WORDS) for _ in range(rng.randrange(20, 200))) for _ in range(500)]
    with open(path, "w") as file:
        number = 0
        while file.tell() < size:
            lines = []
            for _ in range(1000):
                number += 1
                lines.append('{"text": "%d %s %s"}\n' % (number, rng.choice(paragraphs), rng.choice(paragraphs)))
                if len(lines) * 1000 > size:
                    break
            file.write("".join(lines))
    return path


def peak_rss(ftd, model, rows):
    """The worker's, when it has taken three steps."""
    job = ftd.submit(ftd.spec(model, rows, max_steps=ENDLESS, seq_length=64, batch_size=2)).id
    ftd.wait(job, "RUNNING", deadline_s=300)
    wait_until(lambda: ftd.job(job).last_step.step >= 3, "three steps")
    status = pathlib.Path(f"/proc/{ftd.worker_pid(job)}/status").read_text()
    ftd.ftctl("cancel", job)
    ftd.wait(job, "CANCELLED")
    return int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1]) << 10


def test_rss_is_bounded(model, tmp_path):
    small = write_rows(tmp_path / "small.jsonl", 200_000)
    large = write_rows(tmp_path / "large.jsonl", 200_000_000)
    assert large.stat().st_size > 800 * small.stat().st_size
    with Ftd(config=f'dataset_roots = ["{tmp_path}"]\n') as ftd:
        few, many = peak_rss(ftd, model, small), peak_rss(ftd, model, large)
        cached = peak_rss(ftd, model, large)
    print(f"peak RSS: {few >> 20} MiB on 200 KB, {many >> 20} MiB on 200 MB, {cached >> 20} MiB from the cache")
    assert many - few < ALLOWED and cached - few < ALLOWED
