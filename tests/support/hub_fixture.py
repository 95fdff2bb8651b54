"""A private hub for tests: its own process, its own ports, gone when the test ends.

    with Hub() as hub:                                        # or Hub(tls=True)
        sha = hub.add_repo("ann/tiny", {"config.json": b"{}", "model.safetensors": weights})
        hub.fault(r"model\\.safetensors", "cut", listener="cdn", after=1000)
        subprocess.run([...], env=hub.env(home=tmp_path / "hf"))
        assert hub.bytes_sent(r"model\\.safetensors") == len(weights)
        assert [r["method"] for r in hub.requests()] == ["GET", "HEAD", "GET"]

The process reads its orders from stdin and ends when that closes, so it cannot outlive the test. Leaving the `with`
block raises what went wrong inside the server, if anything did: a test never passes on a broken hub.
"""

from __future__ import annotations

import hashlib
import json
import os
import pathlib
import select
import subprocess
import sys
import tempfile
import time

SERVER = pathlib.Path(__file__).with_name("hub_server.py")
DEADLINE_S = float(os.environ.get("FTD_TEST_DEADLINE_S", "60"))
# What would lead a client elsewhere, or make it someone else.
FOREIGN = ("HF_", "HUGGING", "TRANSFORMERS_", "XDG_CACHE_HOME", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY",
           "SSL_CERT", "REQUESTS_CA", "CURL_CA")


def make_certificate(directory: pathlib.Path) -> tuple[pathlib.Path, pathlib.Path]:
    """A self-signed certificate for localhost and 127.0.0.1, and its key. It is its own authority."""
    cert, key = directory / "cert.pem", directory / "key.pem"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                    "-days", "2", "-subj", "/CN=test hub", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1",
                    "-keyout", key, "-out", cert], check=True, capture_output=True)
    return cert, key


class Hub:
    """`endpoint`: what HF_ENDPOINT names; `cdn`: where LFS files come from; `ca_file`: None without TLS.

    `enter`: the beginning of a command that runs in a network namespace, in whose sight the hub then is alone. For one
    thread at a time.
    """

    def __init__(self, tls: bool = False, enter: tuple[str, ...] | list[str] = ()):
        self._dir = tempfile.TemporaryDirectory(prefix="test-hub-")
        self.root = pathlib.Path(self._dir.name)
        (self.root / "files").mkdir()
        command, self.ca_file = [*enter, sys.executable, str(SERVER), str(self.root / "files")], None
        if tls:
            self.ca_file, key = make_certificate(self.root)
            command += ["--tls", str(self.ca_file), str(key)]
        self._stderr = open(self.root / "stderr", "w+")
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._stderr,
                                         bufsize=0)
        self._unread = b""
        ports = json.loads(self._line())
        scheme = "https" if tls else "http"
        self.endpoint, self.cdn = f"{scheme}://127.0.0.1:{ports['hub']}", f"{scheme}://localhost:{ports['cdn']}"

    def __enter__(self) -> "Hub":
        return self

    def __exit__(self, kind, *_) -> None:
        if self._process.stdin.closed:  # by the test, to see what its client does without a hub
            return
        errors = self._order("errors") if self._process.poll() is None else ["the hub's process ended early"]
        self.close()
        if errors and kind is None:
            raise RuntimeError("in the hub:\n" + "\n".join(errors))

    def close(self) -> None:
        """Ends the process: clients see their connections cut, and new ones refused."""
        self._process.stdin.close()
        self._process.wait(DEADLINE_S)
        self._process.stdout.close()
        self._stderr.close()
        self._dir.cleanup()

    def env(self, home, token: str | None = None) -> dict[str, str]:
        """The whole environment for a client of this hub whose HF_HOME is `home`."""
        env = {name: value for name, value in os.environ.items() if not name.upper().startswith(FOREIGN)}
        env |= {"HF_ENDPOINT": self.endpoint, "HF_HOME": str(home), "HF_HUB_DISABLE_XET": "1",
                "HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
        if token is not None:
            env["HF_TOKEN"] = token
        if self.ca_file:
            env["SSL_CERT_FILE"] = str(self.ca_file)
        return env

    # What the hub holds

    def add_repo(self, repo_id: str, files: dict[str, bytes | pathlib.Path], type: str = "model",
                 gated: str | bool = False, private: bool = False, disabled: bool = False,
                 lfs: list[str] | None = None, branch: str = "main", tags=(), renamed_from: str | None = None) -> str:
        """Adds a repository, public unless said otherwise, and returns its first commit.

        lfs: name patterns of the files kept in LFS; by default the weights' and parquet's, and all above 1 MiB. A Path
        is served from where it lies: it must not change. renamed_from: a former name, answered with a redirect.
        """
        return self._order("add_repo", id=repo_id, files=self._sources(files), type=type, gated=gated, private=private,
                           disabled=disabled, lfs=lfs, branch=branch, tags=list(tags), renamed_from=renamed_from)

    def commit(self, repo_id: str, changed_files: dict[str, bytes | pathlib.Path | None], type: str = "model",
               branch: str = "main", title: str = "Update") -> str:
        """Adds a commit (None deletes a file) and returns it. Older revisions stay readable.

        branch may be a full ref: refs/pr/1, refs/convert/parquet.
        """
        return self._order("commit", id=repo_id, files=self._sources(changed_files), type=type, branch=branch,
                           title=title)

    def tag(self, repo_id: str, name: str, rev: str = "main", type: str = "model") -> None:
        self._order("tag", id=repo_id, name=name, rev=rev, type=type)

    def add_token(self, token: str, user: str = "ann", may_read=(), expired: bool = False, role: str = "read",
                  may_write=()) -> None:
        """`user` may read the private and gated repositories in `may_read`, and those under its own name. With the role
        "write" it may write to the latter and to those in `may_write`."""
        self._order("add_token", token=token, name=user, may_read=list(may_read), expired=expired, role=role,
                    may_write=list(may_write))

    def part_size(self, size: int | None) -> None:
        """Large files of more bytes than that are to be sent in parts of that size; None: none are."""
        self._order("part_size", size=size)

    def ignore(self, *paths: str) -> None:
        """Tells clients of these paths that the repository's .gitignore names them."""
        self._order("ignore", paths=paths)

    def page_size(self, size: int | None) -> None:
        """Rows per page of a tree listing; None: 1000, or 50 with expand, as the public hub has it."""
        self._order("page_size", size=size)

    # What goes wrong

    def fault(self, path_regex: str, kind: str, times: int | None = 1, **args) -> None:
        """Orders a fault: see hub_faults.py for the kinds, their arguments, and `listener` and `method`."""
        self._order("fault", pattern=path_regex, kind=kind, times=times, **args)

    def clear_faults(self) -> None:
        """Lifts all faults; what stalls goes on."""
        self._order("clear_faults")

    # What was asked

    def requests(self, clear: bool = False) -> list[dict]:
        """In the order of arrival: listener, method, path (decoded), query (raw), range, has_auth, status (None while
        it stalls, and after a reset), bytes_sent and bytes_received (of the bodies), user_agent, headers (lower case, no authorization)."""
        return self._order("requests", clear=clear)

    def bytes_sent(self, path_regex: str) -> int:
        """Bytes of bodies sent for requests of which "METHOD path?query" matches: the query names an LFS file."""
        return self._order("bytes_sent", regex=path_regex)

    def wait_for(self, regex: str, count: int = 1, deadline_s: float = DEADLINE_S) -> None:
        """Waits until `count` requests have arrived of which "METHOD path?query" matches."""
        if not self._order("wait", regex=regex, count=count, deadline_s=deadline_s):
            raise TimeoutError(f"waited {deadline_s} s for {count} requests of {regex}; came: {self.requests()}")

    # Inside

    def _sources(self, files) -> dict[str, str | None]:
        return {path: None if content is None else str(self._source(content)) for path, content in files.items()}

    def _source(self, content: bytes | pathlib.Path) -> pathlib.Path:
        if isinstance(content, pathlib.Path):
            return content.resolve()
        path = self.root / "files" / hashlib.sha256(content).hexdigest()
        path.write_bytes(content)
        return path

    def _order(self, op: str, **args):
        self._process.stdin.write(json.dumps({"op": op, **args}).encode() + b"\n")
        answer = json.loads(self._line(DEADLINE_S + args.get("deadline_s", 0)))
        if "error" in answer:
            raise ValueError(answer["error"])
        return answer["ok"]

    def _line(self, deadline_s: float = DEADLINE_S) -> bytes:
        end = time.monotonic() + deadline_s
        while b"\n" not in self._unread:
            ready, _, _ = select.select([self._process.stdout], [], [], max(0, end - time.monotonic()))
            more = os.read(self._process.stdout.fileno(), 1 << 16) if ready else b""
            if not more:
                self._stderr.seek(0)
                raise RuntimeError(f"the hub gave no answer; its stderr: {self._stderr.read()}")
            self._unread += more
        line, _, self._unread = self._unread.partition(b"\n")
        return line
