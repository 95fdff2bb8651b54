"""A hub of model and dataset repositories over real HTTP, answering as the public one does, in its own process.

    python hub_server.py FILES [--tls CERT KEY]

Two listeners: the hub (127.0.0.1:PORT) and the CDN (localhost:PORT2, so another host to a client), to which LFS files
are redirected with a signed address. The first line on stdout tells the ports. Then one JSON request a line on stdin
({"op": …}), one JSON answer a line on stdout; the process ends when its stdin closes, so it never outlives a test.
FILES is the folder for what clients write. hub_fixture.py drives it; hub_server_test.py holds it against huggingface_hub and datasets.
"""

from __future__ import annotations

import base64
import gzip
import json
import os
import re
import sys
import time
import traceback
from urllib.parse import parse_qs, quote, unquote, urlencode, urlsplit

import hub_repos
from hub_http import Answer, Handler, Listener
from hub_state import Hub, signature
from hub_writes import Storage, Writes, Written

API_TYPES = {"models": "model", "datasets": "dataset"}
VERBS = ("revision", "tree", "refs", "commits", "paths-info", "auth-check")
TEXT = (".json", ".txt", ".md", ".jsonl", ".csv", ".yaml", ".py", ".jinja", ".gitattributes")
GZIP_FROM = 1000  # bytes: the public hub's cache compresses text of at least that size, if asked
EXPOSED = ("X-Repo-Commit,X-Request-Id,X-Error-Code,X-Error-Message,X-Total-Count,ETag,Link,Accept-Ranges,"
           "Content-Range,X-Linked-Size,X-Linked-ETag,X-Xet-Hash")
BAD_TOKEN = "Invalid credentials in Authorization header"
NO_TOKEN = "Invalid username or password."


class HubHandler(Writes, Handler):
    listener = "hub"

    def send_head(self, status: int, headers=(), **more: str):
        quota = 3000 if self.bucket == "resolvers" else 500
        super().send_head(status, {
            "X-Powered-By": "test-hub", "X-Request-Id": f"Root=1-{os.urandom(12).hex()}",
            "RateLimit": f'"{self.bucket}";r={quota - 1};t=300',
            "RateLimit-Policy": f'"fixed window";"{self.bucket}";q={quota};w=300', "Vary": "Origin, Accept",
            "Access-Control-Expose-Headers": EXPOSED, **dict(headers)}, **more)

    def answer(self):
        head, *rest = self.raw
        if self.command == "POST" and self.answer_write():
            return
        if head == "api":
            self.answer_api(rest)
        elif "resolve" in self.raw:
            kind, ids = ("dataset", self.raw[1:]) if head == "datasets" else ("model", self.raw)
            at = ids.index("resolve")
            repo = self.repo(kind, ids[:at], ids[at:], contents=True)
            self.answer_resolve(repo, ids[at + 1:])
        else:
            raise Answer(404, "Sorry, we can't find the page you are looking for.")

    def answer_api(self, rest: list[str]):
        if rest[0] == "whoami-v2":
            self.answer_whoami()
        elif rest[0] == "agent-harnesses":
            self.send_json({"standardEnvVars": [], "harnesses": {}})
        elif rest[0] == "resolve-cache" and rest[1:] and rest[1] in API_TYPES:
            ids = 2 if len(rest) > 4 and not re.fullmatch("[0-9a-f]{40}", rest[3]) else 1
            repo = self.repo(API_TYPES[rest[1]], rest[2:2 + ids], rest[2 + ids:], contents=True)
            self.answer_cached(repo, rest[2 + ids], unquote("/".join(rest[3 + ids:])))
        elif rest[0] in API_TYPES and rest[1:]:
            ids = rest[1:2] if len(rest) == 2 or rest[2] in VERBS else rest[1:3]
            verb, *tail = rest[1 + len(ids):] or ["revision"]
            repo = self.repo(API_TYPES[rest[0]], ids, rest[1 + len(ids):], contents=verb in ("commits", "auth-check"))
            if verb not in VERBS:
                raise Answer(404, "Sorry, we can't find the page you are looking for.")
            getattr(self, "answer_" + verb.replace("-", "_"))(repo, tail)
        else:
            raise Answer(404, "Sorry, we can't find the page you are looking for.")

    # Who asks, and for what

    def caller(self) -> dict | None:
        """None without a token. A token that is not good is refused, even for what needs none."""
        header = self.headers.get("Authorization")
        if header is None:
            return None
        user = self.hub.tokens.get(header.removeprefix("Bearer "))
        if user is None or user["expired"] or not header.startswith("Bearer "):
            raise Answer(401, BAD_TOKEN)
        return user

    def repo(self, kind: str, ids: list[str], rest: list[str], contents: bool) -> hub_repos.Repo:
        """The repository named in the path. `contents`: what is asked for is behind the gate, if there is one."""
        user = self.caller()
        wanted = unquote("/".join(ids))
        repo = self.hub.find(kind, wanted)
        may_read = repo is not None and user is not None and (
            repo.id in user["may_read"] or repo.id.startswith(user["name"] + "/"))
        if repo is None or (repo.private and not may_read):
            # Who does not say who they are learns nothing of what exists: not even an error code.
            raise Answer(404, "Repository not found", "RepoNotFound") if user else Answer(401, NO_TOKEN)
        if repo.id != wanted:
            before = self.raw[:len(self.raw) - len(ids) - len(rest)]
            location = "/" + "/".join([*before, quote(repo.id), *rest]) + self.path[len(urlsplit(self.path).path):]
            raise Answer(307, f"Temporary Redirect. Redirecting to {location}", Location=location)
        if contents and repo.disabled:
            raise Answer(403, "Access to this resource is disabled.")
        if contents and repo.gated and not may_read:
            restricted = f"Access to {kind} {repo.id} is restricted"
            if user is None:
                raise Answer(401, f"{restricted}. You must have access to it and be authenticated to access it. "
                             "Please log in.", "GatedRepo")
            raise Answer(403, f"{restricted} and you are not in the authorized list. "
                         f"Visit https://huggingface.co/{repo.page} to ask for access.", "GatedRepo")
        return repo

    def revision(self, repo: hub_repos.Repo, tail: list[str]) -> tuple[hub_repos.Commit, str, str]:
        """The commit, the name by which it was asked for, and the path after it."""
        if len(tail) > 2 and tail[0] == "refs":  # clients that do not encode the slashes of refs/pr/1
            tail = ["/".join(tail[:3]), *tail[3:]]
        name = unquote(tail[0]) if tail else "main"
        commit = repo.resolve(name) if tail else repo.default()
        if commit is None:
            raise Answer(404, f"Invalid rev id: {name}", "RevisionNotFound")
        return commit, name, unquote("/".join(tail[1:]))

    def truth(self, name: str) -> bool:
        return self.query.get(name, [""])[-1].lower() in ("true", "1")

    # The API

    def answer_whoami(self):
        user = self.caller()
        if user is None:
            raise Answer(401, NO_TOKEN)
        self.send_json({"type": "user", "id": "0" * 24, "name": user["name"], "fullname": user["name"].title(),
                        "isPro": False, "orgs": [], "auth": {"type": "access_token", "accessToken": {
                            "displayName": f"{user['name']}-laptop", "role": user["role"]}}})

    def answer_revision(self, repo, tail):
        commit, _, _ = self.revision(repo, tail)
        out = hub_repos.info(repo, commit, self.truth("blobs"))
        expand = self.query.get("expand", []) + self.query.get("expand[]", [])
        self.send_json({k: v for k, v in out.items() if not expand or k in ("_id", "id", *expand)})

    def answer_refs(self, repo, tail):
        self.send_json(hub_repos.refs(repo, self.truth("include_prs")))

    def answer_auth_check(self, repo, tail):
        self.send(200, b"OK", Content_Type="text/plain; charset=utf-8")

    def answer_commits(self, repo, tail):
        commit, _, _ = self.revision(repo, tail)
        history = repo.history(commit)
        limit, page = int(self.query.get("limit", ["50"])[0]), int(self.query.get("p", ["0"])[0])
        more = {"Link": self.next_link(p=page + 1, limit=limit)} if len(history) > limit * (page + 1) else {}
        self.send_json([{"id": c.sha, "title": c.title, "message": "", "authors": [{"user": "ann"}], "date": c.date}
                        for c in history[limit * page:limit * (page + 1)]], X_Total_Count=str(len(history)), **more)

    def answer_tree(self, repo, tail):
        commit, name, folder = self.revision(repo, tail)
        expand = self.truth("expand")
        paths = hub_repos.tree_paths(commit, folder.strip("/"), self.truth("recursive"))
        if paths is None:
            raise Answer(404, f'{folder} does not exist on "{name}"', "EntryNotFound", X_Repo_Commit=commit.sha)
        if cursor := self.query.get("cursor"):
            last = json.loads(base64.b64decode(cursor[0]))["file_name"]
            paths = [path for path in paths if path > last]
        limit = int(self.query.get("limit", [self.hub.page_size or (50 if expand else 1000)])[0])
        more = {}
        if len(paths) > limit:
            position = json.dumps({"file_name": paths[limit - 1]}).encode()
            more["Link"] = self.next_link(limit=limit, cursor=base64.b64encode(position).decode())
        self.send_json([hub_repos.tree_entry(commit, path, expand) for path in paths[:limit]], **more)

    def next_link(self, **changes) -> str:
        query = {**{name: values[-1] for name, values in self.query.items()}, **changes}
        return f'<{self.hub.hub_url}/{"/".join(self.raw)}?{urlencode(query)}>; rel="next"'

    def answer_paths_info(self, repo, tail):
        commit, _, _ = self.revision(repo, tail)
        if (self.headers.get("Content-Type") or "").startswith("application/json"):
            form = json.loads(self.sent_in)
            paths, expand = form["paths"], bool(form.get("expand"))
        else:
            form = parse_qs(self.sent_in.decode())
            paths, expand = form.get("paths", []), form.get("expand", [""])[0].lower() == "true"
        paths = [path.strip("/") for path in paths]
        self.send_json([hub_repos.tree_entry(commit, path, expand) for path in paths
                        if path in commit.files or (path and path in commit.folders)])

    # Files

    def entry_of(self, commit: hub_repos.Commit, path: str) -> hub_repos.Blob:
        if path not in commit.files:
            raise Answer(404, "Entry not found", "EntryNotFound", X_Repo_Commit=commit.sha)
        return commit.files[path]

    def answer_resolve(self, repo, tail):
        """An LFS file is redirected to the CDN; any other to an address of this host that names its commit."""
        commit, _, path = self.revision(repo, tail)
        blob = self.entry_of(commit, path)
        name = quote(path.rpartition("/")[2])
        headers = {"X-Repo-Commit": commit.sha, "X-Linked-ETag": f'"{blob.etag}"', "Accept-Ranges": "bytes",
                   "Content-Disposition": f"inline; filename*=UTF-8''{name}; filename=\"{name}\";"}
        if blob.sha256:
            status, word, location = 302, "Found", self.cdn_address(repo, blob, headers["Content-Disposition"])
            api = f"{self.hub.hub_url}/api/{repo.api_type}/{repo.id}"
            headers |= {"X-Linked-Size": str(blob.size), "X-Xet-Hash": blob.xet_hash, "Cache-Control": "no-store",
                        "Link": f'<{api}/xet-read-token/{commit.sha}>; rel="xet-auth", '
                                f'<{self.hub.cdn_url}/reconstructions/{blob.xet_hash}>; rel="xet-reconstruction-info"'}
        else:
            asked = quote(unquote(urlsplit(self.path).path), safe="")
            location = (f"/api/resolve-cache/{repo.api_type}/{repo.id}/{commit.sha}/{quote(path)}"
                        f"?{asked}=&etag={quote(headers['X-Linked-ETag'])}")
            status, word = 307, "Temporary Redirect"
        self.send(status, f"{word}. Redirecting to {location}".encode(), headers, Location=location,
                  Content_Type="text/plain; charset=utf-8")

    def cdn_address(self, repo, blob, disposition: str) -> str:
        path = f"/xet-bridge-us/{repo.oid}/{blob.xet_hash}"
        expires = int(time.time()) + 3600
        return f"{self.hub.cdn_url}{path}?" + urlencode({
            "X-Xet-Cas-Uid": "public", "response-content-disposition": disposition, "Expires": expires,
            "Policy": "none", "Signature": signature(path, str(expires)), "Key-Pair-Id": "TESTHUB"})

    def answer_cached(self, repo, sha: str, path: str):
        if not re.fullmatch("[0-9a-f]{40}", sha):
            raise Answer(400, "Not a commit id")
        if sha not in repo.commits:
            raise Answer(404, f"Invalid rev id: {sha}", "RevisionNotFound")
        blob = self.entry_of(repo.commits[sha], path)
        etag, headers = f'"{blob.etag}"', {"X-Repo-Commit": sha, "Content-Type": "text/plain; charset=utf-8"}
        if self.headers.get("If-None-Match") == etag:
            self.send(304, b"", headers, ETag=etag)
        elif (self.command == "GET" and "gzip" in self.headers.get("Accept-Encoding", "") and blob.size >= GZIP_FROM
              and path.endswith(TEXT)):
            self.send_gzipped(blob, headers)
        else:
            self.send_file(blob, etag, headers)

    def send_gzipped(self, blob, headers):
        """As the public hub's cache does it: no length, a weak etag, no ranges."""
        self.send_head(200, headers, Content_Encoding="gzip", Transfer_Encoding="chunked", ETag=f'W/"{blob.etag}"')
        with open(blob.source, "rb") as f:
            body = gzip.compress(f.read())
        self.wfile.write(b"%x\r\n" % len(body))
        self.write(body)
        self.wfile.write(b"\r\n0\r\n\r\n")


class CdnHandler(Storage, Handler):
    listener = "cdn"

    def send_answer(self, answer: Answer):
        """In XML, as object stores do: nothing of the hub's error headers."""
        headers = {name: value for name, value in answer.headers.items() if not name.startswith("X-Error-")}
        body = f"<Error><Code>{answer.status}</Code><Message>{answer.message}</Message></Error>".encode()
        self.send(answer.status, body, headers, Content_Type="application/xml")

    def answer(self):
        path = urlsplit(self.path).path
        blob = self.hub.blobs.get(self.raw[-1])
        if "Authorization" in self.headers:  # a token that reached another company's servers
            raise Answer(400, "Only one auth mechanism allowed")
        if self.command == "PUT":
            return self.answer_put()
        expires = self.query.get("Expires", [""])[0]
        if blob is None or self.query.get("Signature") != [signature(path, expires)] or int(expires) < time.time():
            raise Answer(403, "Access denied")
        self.send_file(blob, f'"{blob.xet_hash}"', {
            "Content-Type": "application/octet-stream",
            "Content-Disposition": self.query["response-content-disposition"][0]})


class WritableHub(Hub, Written):
    def __init__(self, files: str):
        Hub.__init__(self)
        Written.__init__(self, files)


def main(files: str, tls: list[str] | None):
    hub = WritableHub(files)
    scheme = "https" if tls else "http"
    hub_port = Listener(hub, HubHandler, tls).server_address[1]
    cdn_port = Listener(hub, CdnHandler, tls).server_address[1]
    hub.hub_url, hub.cdn_url = f"{scheme}://127.0.0.1:{hub_port}", f"{scheme}://localhost:{cdn_port}"
    print(json.dumps({"hub": hub_port, "cdn": cdn_port}), flush=True)
    for line in sys.stdin:
        try:
            out = {"ok": hub.control(**json.loads(line))}
        except Exception:  # the test's error: it gets the traceback
            out = {"error": traceback.format_exc()}
        print(json.dumps(out), flush=True)
    os._exit(0)  # whatever the connections' threads are at


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[3:5] if sys.argv[2:3] == ["--tls"] else None)
