"""The installed tree and its systemd unit, judged by systemd's own tools without a running systemd."""
import os
import pathlib
import re
import shutil
import subprocess

import pytest

REPO = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("FTD_BUILD_DIR", REPO / "build"))
EXPOSURE = 20  # tenths: systemd-analyze calls 2.0 and less "OK"


def run(*command, **options):
    return subprocess.run([str(word) for word in command], text=True, capture_output=True, timeout=60, **options)


@pytest.fixture(scope="module")
def prefix(tmp_path_factory):
    """`cmake --install`, elsewhere than the build was configured for."""
    prefix = tmp_path_factory.mktemp("opt") / "ftd"
    installed = run("cmake", "--install", BUILD, "--prefix", prefix)
    assert installed.returncode == 0, installed.stderr
    return prefix


@pytest.fixture
def unit(prefix, tmp_path):
    """A copy of the installed unit, to be changed."""
    for name in ("ftd.service", "ftd.socket"):
        shutil.copy(prefix / "lib/systemd/system" / name, tmp_path)
    return tmp_path / "ftd.service"


def verify(unit):
    """What systemd-analyze has to say. It exits with 0 in spite of unknown keys, so only silence is good."""
    found = run("systemd-analyze", "verify", "--man=no", unit)
    return found.stdout + found.stderr + ("" if found.returncode == 0 else f"exit {found.returncode}")


def exposed(unit):
    return run("systemd-analyze", "security", "--offline=true", "--no-pager", f"--threshold={EXPOSURE}", unit)


def change(unit, pattern, replacement):
    text, count = re.subn(pattern, replacement, unit.read_text(), flags=re.MULTILINE)
    assert count == 1, pattern
    unit.write_text(text)


def test_the_installed_programs_run_where_they_lie(prefix):
    programs = {path.name for path in (prefix / "bin").iterdir()}
    assert programs >= {"ftd", "ftctl", "ftctl-hub"}
    assert ("ft-worker" in programs) == ("ft-train" in programs)
    for program in programs - {"ftctl-hub"}:
        assert run(prefix / "bin" / program, "--help").returncode == 0, program
    printed = run(prefix / "bin/ftd", "--print-config", env={"HOME": "/", "PATH": "/usr/bin:/bin"})
    assert f'"{prefix}/bin/ft-worker"' in printed.stdout.replace("'", '"')


def test_pages_and_completions_lie_where_they_are_looked_for(prefix, tmp_path):
    """man and the shells' own loaders find them, and nothing tells them where but the prefix."""
    home = {"HOME": str(tmp_path), "LC_ALL": "C.UTF-8", "PATH": f"{prefix}/bin:/usr/bin:/bin"}
    for program in {path.name for path in (prefix / "bin").iterdir()} - {"ftctl-hub"}:
        page = run("man", "-w", program, env=home).stdout.strip()
        assert page == f"{prefix}/share/man/man{8 if program == 'ftd' else 1}/{program}.{8 if program == 'ftd' else 1}"
        by_bash = run("bash", "--norc", "-c", ". /usr/share/bash-completion/bash_completion; _completion_loader $0; "
                      "complete -p $0", program, env={**home, "XDG_DATA_DIRS": f"{prefix}/share"})
        assert by_bash.stdout == f"complete -F _{program.replace('-', '_')}_complete {program}\n", by_bash.stderr
        by_zsh = run("zsh", "-f", "-c", f"fpath=({prefix}/share/zsh/site-functions $fpath); autoload -Uz compinit; "
                     "compinit -u -D; print -r -- $_comps[$0]", program, env=home)
        assert by_zsh.stdout == f"_{program}\n", by_zsh.stderr
        by_fish = run("fish", "-c", "complete -C$argv[1]", f"{program} --help", env={**home, "XDG_DATA_DIRS": f"{prefix}/share"})
        assert by_fish.stdout.startswith("--help\t"), by_fish.stderr


def test_the_unit_names_the_installed_programs(prefix, unit):
    programs = re.findall(r"^Exec\w+=(\S+)", unit.read_text(), re.MULTILINE)
    assert programs == [f"{prefix}/bin/ftd", "/bin/kill", f"{prefix}/libexec/ftd/reap-workers"]
    assert all(os.access(program, os.X_OK) for program in programs)


def test_systemd_has_nothing_to_say(unit):
    assert verify(unit) == ""
    assert verify(unit.with_suffix(".socket")) == ""


@pytest.mark.parametrize("pattern,replacement", [
    ("^WatchdogSec=", "WatchdogSeconds="),
    ("^Type=notify", "Type=notifying"),
    ("^ExecStart=.*", "ExecStart=/nonexistent/ftd"),
    ("^SystemCallFilter=@system-service", "SystemCallFilter=@system-services"),
])
def test_a_mistake_in_the_unit_is_seen(unit, pattern, replacement):
    change(unit, pattern, replacement)
    assert verify(unit) != ""


def test_the_unit_exposes_little(unit):
    judged = exposed(unit)
    assert judged.returncode == 0, judged.stdout[-400:]
    change(unit, "^CapabilityBoundingSet=\n", "")
    change(unit, "^RestrictNamespaces=.*", "")
    assert exposed(unit).returncode != 0, "the threshold lets anything pass"


@pytest.mark.parametrize("line", [
    "Type=notify", "KillMode=process", "OOMPolicy=continue", "Restart=on-failure", "User=ftd", "Group=ftd",
    "StateDirectory=ftd", "CacheDirectory=ftd", "RuntimeDirectory=ftd", "DevicePolicy=closed", "LoadCredential=hf-token",
    "RestartSec=100ms", "StartLimitIntervalSec=0", "DeviceAllow=char-nvidia-uvm rw",
])
def test_the_unit_says(unit, line):
    assert line in unit.read_text().splitlines()


@pytest.mark.parametrize("directive,why", [
    ("MemoryDenyWriteExecute", "LibTorch's oneDNN compiles kernels as it runs"),
    ("PrivateUsers", "SO_PEERCRED would name nobody"),
    ("DynamicUser", "a restart would take the directories from the living worker"),
])
def test_the_unit_leaves_out(unit, directive, why):
    assert not re.search(rf"^{directive}=", unit.read_text(), re.MULTILINE), why


def test_sysusers_takes_the_accounts(prefix, tmp_path):
    """systemd-sysusers makes the user and the group in an empty root."""
    (tmp_path / "etc").mkdir()
    made = run("systemd-sysusers", f"--root={tmp_path}", prefix / "lib/sysusers.d/ftd.conf")
    assert made.returncode == 0, made.stderr
    assert re.search(r"^ftd:.*:/var/lib/ftd:", (tmp_path / "etc/passwd").read_text(), re.MULTILINE)
    assert re.search(r"^ftd:", (tmp_path / "etc/group").read_text(), re.MULTILINE)
