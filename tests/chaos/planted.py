"""Bugs that are planted into a copy of ftd, to see that the harness finds them: `./dev soak planted-bugs`.

Each is an edit that somebody could make by mistake. The copy is built with it, and the harness runs, with other seeds, until it
fails; if it never does, it is blind for that kind. tests/project/planted_bugs_test.py holds the edits to the sources.
"""
import dataclasses
import os
import pathlib
import shutil
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
PLACE = ROOT / "build-planted"
SOURCE, BUILD = PLACE / "source", PLACE / "build"
TARGETS = ["ftd", "ftctl", "ftd_fake_worker", "fault_shim", "disk_log"]
STORM, POWER_CUTS = "chaos_test.py", "power_cut_test.py"


@dataclasses.dataclass(frozen=True)
class Bug:
    file: str
    old: str
    new: str
    harness: str
    tries: int = 6


BUGS = {
    "a change of state is stored without its event": Bug(
        "server/jobs/job_store.cc", "FTD_ASSIGN_OR_RETURN(changed.event, InsertEvent(database, job.id, std::move(event)));",
        "changed.event = std::move(event);", STORM),
    "the client is answered before the database is flushed": Bug(
        "server/jobs/sqlite.cc", "PRAGMA synchronous = FULL;", "PRAGMA synchronous = OFF;", POWER_CUTS),
    "files are renamed before they are flushed": Bug(
        "lib/base/file.cc", "FTD_ASSIGN_OR_RETURN(Fd fd, OpenFile(path, O_RDONLY));\n  if (::fsync(fd.get()) != 0)",
        "FTD_ASSIGN_OR_RETURN(Fd fd, OpenFile(path, O_RDONLY));\n  if (fd.get() < 0)", POWER_CUTS),
    "of an attempt's directories only the last is flushed": Bug(
        "server/attempts/attempt_start.cc", "for (fs::path made = dir; made != top;) {", "for (fs::path made = dir; made == dir;) {",
        POWER_CUTS, tries=20),
    "a change that could not be committed is acknowledged": Bug(
        "server/jobs/group_commit.cc", """    if (const absl::Status committed = transaction->Commit(); !committed.ok())
      Undone(call.undo, call.status, committed);
""", "    transaction->Commit().IgnoreError();\n", STORM),
    "a request's id is not kept": Bug(
        "server/jobs/job_insert.cc", "if (request.has_value()) FTD_RETURN_IF_ERROR(InsertRequest(database, changed.job, *request));", "",
        STORM),
    "a worker that lives is not adopted": Bug(
        "server/attempts/runner.cc", "auto process = FindWorker(attempt, dir);",
        'absl::StatusOr<WorkerProcess> process = absl::NotFoundError("");', STORM),
    "a worker is told by its pid alone": Bug(
        "server/attempts/worker_process.cc", "if (!process.ok() || process->identity_.start_time == known.start_time) return process;",
        "if (true) return process;", STORM, tries=20),
    "a resume token forgets one event": Bug(
        "server/streams/resume_token.cc", "return position;\n}\n\n}  // namespace ftd", "--position.sequence;\n  return position;\n}\n\n}  // namespace ftd",
        STORM),
    "a job waits for one that has failed": Bug(
        "server/jobs/job_dependencies.cc", "for (const auto& [id, needed, state] : hopeless) {",
        "for (const auto& [id, needed, state] : std::vector<Hopeless>()) {", STORM),
    "the weights to begin with are left to the job that wrote them": Bug(
        "server/requests/submission.cc", "if (!kept.ok()) return done(kept);", "DropStartWeights(state_dir_, job->id);", STORM, tries=12),
}


def run(*command, **kwargs):
    return subprocess.run(list(map(str, command)), check=True, **kwargs)


def copy_tree():
    shutil.rmtree(SOURCE, ignore_errors=True)
    for name in run("git", "ls-files", "-z", cwd=ROOT, capture_output=True, text=True).stdout.split("\0"):
        if name and (ROOT / name).is_file():
            (SOURCE / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, SOURCE / name)


def build():
    env = os.environ | {"CCACHE_BASEDIR": str(SOURCE), "CCACHE_NOHASHDIR": "1", "CCACHE_SLOPPINESS": "pch_defines,time_macros"}
    run("cmake", "--build", BUILD, "-j", os.cpu_count(), "--target", *TARGETS, stdout=subprocess.DEVNULL, env=env)


def is_found(bug, seed):
    """Whether the harness fails within the bug's tries; a time-out is a failure too."""
    env = os.environ | {"FTD_BUILD_DIR": str(BUILD), "PYTHONPATH": f"{SOURCE}/tests/support"}
    for i in range(bug.tries):
        done = None
        try:
            done = subprocess.run([sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"tests/chaos/{bug.harness}"],
                                  cwd=SOURCE, env=env | {"FTD_TEST_SEED": str(seed + i)}, capture_output=True, text=True, timeout=600)
        except subprocess.TimeoutExpired:
            pass
        if done is None or done.returncode != 0:
            said = [line for line in done.stdout.splitlines() if line.startswith("E  ")] if done else ["time is up"]
            print(f"    found by {bug.harness}, try {i + 1}: {said[0][:160] if said else '?'}", flush=True)
            return True
    return False


def main(seed, names):
    copy_tree()
    run("cmake", "--preset", "default", "-B", BUILD, "-DFTD_WORKER=OFF", f"-DFTD_PYTHON={sys.executable}", cwd=SOURCE,
        stdout=subprocess.DEVNULL)
    build()
    missed = []
    for name in names or BUGS:
        bug, file = BUGS[name], SOURCE / BUGS[name].file
        sound = file.read_text()
        assert sound.count(bug.old) == 1, (name, sound.count(bug.old))
        print(f"[planted] {name}", flush=True)
        try:
            file.write_text(sound.replace(bug.old, bug.new))
            build()
            if not is_found(bug, seed):
                missed.append(name)
                print(f"    NOT FOUND in {bug.tries} tries", flush=True)
        finally:
            file.write_text(sound)
    return missed


if __name__ == "__main__":
    missed = main(int(os.environ.get("FTD_TEST_SEED", "1")), sys.argv[1:])
    sys.exit(f"not found: {', '.join(missed)}" if missed else 0)
