"""Real shells that complete a line, and what they offer.

    bash(script, "ftctl submit --mo")      # ["--mode", "--model", "--model-name"]
    fish(script, ["ftctl sub", …])         # a list of offers for each line
    with Zsh(script, directory) as zsh: zsh.offers("ftctl sub")
"""

from __future__ import annotations

import contextlib
import os
import pathlib
import pty
import re
import signal
import subprocess
import threading

from ftd_fixture import BIN, DEADLINE_S, wait_until


def environment(**more) -> dict:
    """As of a user whose ftctl is this build's."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("FTD_", "FTCTL_", "HF_"))}
    return {**clean, "PATH": f"{BIN}:{clean['PATH']}", "LC_ALL": "C.UTF-8", **more}


def bash_words(line: str) -> list[str]:
    """The line as bash's completion gets it: = and : part words and are words themselves."""
    words = [part for word in line.split(" ") for part in (re.findall(r"[=:]|[^=:]+", word) or [""])]
    return words if not line.endswith(("=", ":")) else [*words]


BASH = """
source "$1"; line=$2; shift 2
COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)) COMP_LINE=$line COMP_POINT=${#line}
$(complete -p "$1" | sed 's/.* -F \\([^ ]*\\).*/\\1/')
printf '%s\\n' "${COMPREPLY[@]}"
"""


def bash(script: pathlib.Path, line: str, *, cwd=None, **env) -> list[str]:
    """Calls the function that the script gave to `complete`, as readline would."""
    ran = subprocess.run(["bash", "--norc", "-c", BASH, "bash", str(script), line, *bash_words(line)], text=True,
                         capture_output=True, timeout=DEADLINE_S, cwd=cwd, env=environment(**env))
    assert ran.stderr == "" and ran.returncode == 0, ran.stderr
    return [word for word in ran.stdout.splitlines() if word]


def fish(script: pathlib.Path, lines: list[str], *, cwd=None, **env) -> list[list[str]]:
    program = 'source $argv[1]; for line in $argv[2..]; complete -C $line; echo "END OF OFFERS"; end'
    ran = subprocess.run(["fish", "--no-config", "-c", program, str(script), *lines], text=True, capture_output=True,
                         timeout=DEADLINE_S, cwd=cwd, env=environment(HOME=str(script.parent), **env))
    assert ran.stderr == "" and ran.returncode == 0, ran.stderr
    blocks = ran.stdout.split("END OF OFFERS\n")[:-1]
    return [[offer.split("\t")[0] for offer in block.splitlines()] for block in blocks]


ZSHRC = r"""
PS1= ; unsetopt beep; LISTMAX=100000
autoload -Uz compinit && compinit -u -D
source $SCRIPT
compadd() {  # writes down what is offered; -A, -D and -O offer nothing
  local word
  for word; do
    [[ $word == (-|--) ]] && break
    [[ $word == -[ADO]* ]] && { builtin compadd "$@"; return }
  done
  local -a offered
  builtin compadd -A offered "$@"
  (( $#offered )) && print -rl -- $offered >>$DIR/offers
  builtin compadd "$@"
}
ask() { BUFFER=$(<$DIR/line); CURSOR=$#BUFFER; zle list-choices 2>>$DIR/errors; BUFFER=; print >$DIR/done }
zle -N ask; bindkey '^T' ask
print >$DIR/done
"""


class Zsh:
    """An interactive zsh on a terminal of its own, with its own completion system."""

    def __init__(self, script: pathlib.Path, directory: pathlib.Path, *, cwd=None, **env):
        self.dir = directory
        (directory / "setup").write_text(ZSHRC)
        self.pid, self.terminal = pty.fork()
        if self.pid == 0:
            os.chdir(cwd or directory)
            os.execvpe("zsh", ["zsh", "-f", "-i"], environment(
                SCRIPT=str(script), DIR=str(directory), TERM="vt100", HOME=str(directory), **env))
        self.output = b""
        threading.Thread(target=self._drain, daemon=True).start()
        self._type(f"source {directory}/setup\n", "zsh to start")

    def _drain(self) -> None:
        with contextlib.suppress(OSError):
            while data := os.read(self.terminal, 65536):
                self.output += data

    def _type(self, keys: str, what: str) -> None:
        done = self.dir / "done"
        done.unlink(missing_ok=True)
        os.write(self.terminal, keys.encode())
        try:
            wait_until(done.exists, what)
        except TimeoutError as error:
            raise TimeoutError(f"{error}\n{self.output.decode(errors='replace')}") from None

    def offers(self, line: str) -> list[str]:
        (self.dir / "line").write_text(line)
        (self.dir / "offers").write_text("")
        self._type("\x14", f"completion of {line!r}")
        errors = self.dir / "errors"
        assert not errors.exists() or errors.read_text() == "", errors.read_text()
        return (self.dir / "offers").read_text().splitlines()

    def __enter__(self) -> "Zsh":
        return self

    def __exit__(self, *exc) -> None:
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        os.close(self.terminal)
