"""What the hub knows: repositories, former names, tokens, faults, and the log of what was asked of it.

The operations (op_…) are what a test orders through the server's stdin; hub_fixture.py names and explains them.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import threading

import hub_repos
from hub_faults import Faults

SECRET = b"signs the CDN's addresses"


def signature(what: str, expires: str) -> str:
    return hmac.new(SECRET, f"{what} {expires}".encode(), hashlib.sha256).hexdigest()


class Hub:
    """Everything that the listeners share. `lock` guards all of it but the faults, which guard themselves."""

    def __init__(self):
        self.lock = threading.Condition()
        self.faults = Faults()
        self.repos: dict[tuple[str, str], hub_repos.Repo] = {}  # (type, id in lower case)
        self.moved: dict[tuple[str, str], str] = {}  # old id → new id
        self.blobs: dict[str, hub_repos.Blob] = {}  # what the CDN holds, by its own id
        self.tokens: dict[str, dict] = {}
        self.log: list[dict] = []
        self.errors: list[str] = []
        self.page_size: int | None = None
        self.hub_url = self.cdn_url = ""

    def find(self, kind: str, repo_id: str) -> hub_repos.Repo | None:
        """By its name, in whatever case, or by a former name."""
        key = (kind, repo_id.lower())
        return self.repos.get((kind, self.moved.get(key, repo_id).lower()))

    def control(self, op: str, **args):
        return getattr(self, f"op_{op}")(**args)

    def op_add_repo(self, id, type, files, branch, tags, renamed_from, **settings):
        repo = hub_repos.Repo(type, id, **settings)
        sha = repo.commit(files, branch, "Upload")
        repo.refs |= {f"refs/tags/{tag}": sha for tag in tags}
        with self.lock:
            self.repos[type, id.lower()] = repo
            self.publish(repo, sha)
            if renamed_from:
                self.moved[type, renamed_from.lower()] = id
        return sha

    def op_commit(self, id, type, files, branch, title):
        repo = self.repos[type, id.lower()]
        with self.lock:
            sha = repo.commit(files, branch, title)
            self.publish(repo, sha)
        return sha

    def publish(self, repo, sha):
        self.blobs |= {blob.xet_hash: blob for blob in repo.commits[sha].files.values() if blob.sha256}

    def op_tag(self, id, type, name, rev):
        repo = self.repos[type, id.lower()]
        with self.lock:
            repo.refs[f"refs/tags/{name}"] = repo.resolve(rev).sha

    def op_add_token(self, token, **user):
        with self.lock:
            self.tokens[token] = user

    def op_fault(self, **fault):
        self.faults.order(**fault)

    def op_clear_faults(self):
        self.faults.lift()

    def op_page_size(self, size):
        self.page_size = size

    def op_requests(self, clear):
        with self.lock:
            out = [dict(entry) for entry in self.log]
            if clear:
                self.log.clear()
        return out

    def op_bytes_sent(self, regex):
        with self.lock:
            return sum(entry["bytes_sent"] for entry in self._matching(regex))

    def op_wait(self, regex, count, deadline_s):
        """Waits until `count` requests match; true if they came in time."""
        with self.lock:
            return self.lock.wait_for(lambda: len(self._matching(regex)) >= count, deadline_s)

    def _matching(self, regex):
        return [e for e in self.log if re.search(regex, f"{e['method']} {e['path']}?{e['query']}")]

    def op_errors(self):
        return self.errors
