"""What the hub lets clients write: repositories, branches, large files and commits, as the public hub takes them.

Large files go to the storage behind the CDN by signed addresses, whole or in parts, and never with a token. A commit
names them by their digest; it lands as a whole or not at all, and only on the parent that it names.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import secrets
import time
from urllib.parse import unquote, urlencode

import hub_repos
import yaml
from hub_http import Answer
from hub_state import signature

BAD_METADATA = "Invalid metadata in README.md."
REPO_ID = re.compile(r"[\w.-]+/[\w.-]+")
LICENSES = {"apache-2.0", "mit", "openrail", "bigscience-openrail-m", "cc", "cc0-1.0", "cc-by-4.0", "cc-by-sa-4.0", "cc-by-nc-4.0",
            "gpl-3.0", "bsd-3-clause", "llama2", "llama3", "llama3.1", "llama3.2", "llama3.3", "gemma", "unknown", "other"}


def metadata_errors(card: str) -> list[str]:
    """What the hub has against the YAML of a model's card: of its schema, the fields that ftd writes."""
    match = re.match(r"---\n(.*?)\n?---(\n|$)", card, re.S)
    try:
        data = yaml.safe_load(match[1]) if match else {}
    except yaml.YAMLError as e:
        return [f"YAML: {e}"]
    if not isinstance(data, dict):
        return ["The metadata must be a map"]
    errors = []
    for field, wanted in (("library_name", str), ("pipeline_tag", str), ("license_name", str), ("license_link", str),
                          ("tags", list), ("datasets", list), ("model-index", list)):
        if field in data and not isinstance(data[field], wanted):
            errors.append(f'"{field}" must be a {wanted.__name__}')
    for field in ("base_model", "datasets"):
        named = data.get(field, [])
        errors += [f'"{field}" with value "{name}" is not valid' for name in ([named] if isinstance(named, str) else named)
                   if not isinstance(name, str) or not REPO_ID.fullmatch(name)]
    licenses = data.get("license", [])
    errors += [f'"license" must be one of those of the hub, not {name}'
               for name in ([licenses] if isinstance(licenses, str) else licenses) if name not in LICENSES]
    for model in data.get("model-index") or []:
        for result in model.get("results", []):
            if not isinstance(result.get("dataset", {}).get("type"), str) or not isinstance(result["task"].get("type"), str):
                errors.append('"model-index[0].results[0].dataset.type" must be a string')
    return errors


class Writes:
    """Mixed into the hub's handler."""

    def answer_write(self) -> bool:
        """False: the address is none that clients write to."""
        raw = self.raw
        if raw in (["api", "repos", "create"], ["api", "validate-yaml"], ["api", "complete_multipart"]):
            getattr(self, "write_" + re.sub(r"\W", "_", "_".join(raw[1:])))()
        elif len(raw) == 6 and raw[:2] == ["api", "models"] and raw[4] in ("branch", "preupload", "commit"):
            getattr(self, f"write_{raw[4]}")(self.writable(raw[2:4], raw[4:]), unquote(raw[5]))
        elif len(raw) == 6 and raw[2:5] == ["info", "lfs", "objects"] and raw[5] in ("batch", "verify"):
            ids = [raw[0], raw[1].removesuffix(".git")]
            getattr(self, f"write_{raw[5]}")(self.writable(ids, raw[2:]))
        else:
            return False
        return True

    def form(self) -> dict:
        return json.loads(self.sent_in or b"{}")

    def writer(self, repo_id: str, what: str) -> None:
        user = self.caller()
        if user is None:
            raise Answer(401, "Invalid username or password.")
        if user["role"] != "write":
            raise Answer(403, f"Forbidden: you must use a write token to {what}.")
        if repo_id.partition("/")[0] != user["name"] and repo_id not in user["may_write"]:
            raise Answer(403, f"Forbidden: you don't have the rights to {what} under {repo_id.partition('/')[0]}.")

    def writable(self, ids, rest) -> hub_repos.Repo:
        repo = self.repo("model", ids, rest, contents=False)
        self.writer(repo.id, "upload to a repository")
        return repo

    def write_repos_create(self):
        form = self.form()
        repo_id = f"{form.get('organization') or self.caller()['name']}/{form['name']}"
        self.writer(repo_id, "create a model")
        if not REPO_ID.fullmatch(repo_id) or form.get("type", "model") != "model":
            raise Answer(400, f"{repo_id} is not a model's name")
        with self.hub.lock:
            if self.hub.find("model", repo_id):
                known = {"error": "You already created this model repo", "url": f"{self.hub.hub_url}/{repo_id}"}
                return self.send(409, json.dumps(known).encode(), Content_Type="application/json; charset=utf-8")
            repo = hub_repos.Repo("model", repo_id, private=form.get("visibility") == "private" or form.get("private", False))
            repo.commit({".gitattributes": self.hub.keep(b"*.safetensors filter=lfs diff=lfs merge=lfs -text\n")},
                        "main", "initial commit")
            self.hub.repos["model", repo_id.lower()] = repo
        self.send_json({"url": f"{self.hub.hub_url}/{repo_id}", "name": repo_id, "id": repo.oid})

    def write_validate_yaml(self):
        errors = metadata_errors(self.form()["content"])
        body = json.dumps({"errors": [{"message": e} for e in errors], "warnings": []}).encode()
        self.send(400 if errors else 200, body, Content_Type="application/json; charset=utf-8")

    def write_branch(self, repo, name):
        with self.hub.lock:
            if f"refs/heads/{name}" in repo.refs:
                raise Answer(409, f"Reference already exists: refs/heads/{name}")
            start = repo.resolve(self.form().get("startingPoint", "main"))
            repo.refs[f"refs/heads/{name}"] = start.sha
        self.send(200, b"OK", Content_Type="text/plain; charset=utf-8")

    def branch(self, repo, name) -> hub_repos.Commit:
        if f"refs/heads/{name}" not in repo.refs:
            raise Answer(404, f"Invalid rev id: {name}", "RevisionNotFound")
        return repo.commits[repo.refs[f"refs/heads/{name}"]]

    def write_preupload(self, repo, name):
        commit = self.branch(repo, name)
        self.send_json({"commitOid": commit.sha, "files": [
            {"path": file["path"], "shouldIgnore": file["path"] in self.hub.ignored,
             "uploadMode": "lfs" if hub_repos.is_lfs(file["path"], file["size"], repo.lfs) else "regular",
             "oid": commit.files[file["path"]].etag if file["path"] in commit.files else None}
            for file in self.form()["files"] if base64.b64decode(file["sample"]) is not None]})

    # Large files

    def write_batch(self, repo):
        form = self.form()
        parts = self.hub.part_size
        assert form["operation"] == "upload" and form["hash_algo"] == "sha256"
        chosen = "multipart" if parts and "multipart" in form["transfers"] else "basic"
        self.send_json({"transfer": chosen, "objects": [
            self.instructions(repo, file["oid"], file["size"], parts if chosen == "multipart" else None)
            for file in form["objects"]]})

    def instructions(self, repo, oid, size, parts) -> dict:
        out = {"oid": oid, "size": size, "authenticated": True}
        if self.hub.stored(oid):
            return out
        verify = {"href": f"{self.hub.hub_url}/{repo.id}.git/info/lfs/objects/verify", "header": {}}
        if parts is None or size <= parts:
            return {**out, "actions": {"upload": {"href": self.hub.storage_address(oid)}, "verify": verify}}
        upload = secrets.token_hex(8)
        count = -(-size // parts)
        with self.hub.lock:
            self.hub.multiparts[upload] = {"oid": oid, "count": count}
        header = {"chunk_size": str(parts), **{f"{n:05}": self.hub.storage_address(oid, upload, n)
                                               for n in range(1, count + 1)}}
        query = urlencode({"uploadId": upload, "signature": signature("complete", upload)})
        return {**out, "actions": {"verify": verify, "upload": {
            "href": f"{self.hub.hub_url}/api/complete_multipart?{query}", "header": header}}}

    def write_complete_multipart(self):
        """Signed, and so without a token."""
        upload = self.query["uploadId"][0]
        if self.query["signature"][0] != signature("complete", upload) or "Authorization" in self.headers:
            raise Answer(403, "Access denied")
        form, known = self.form(), self.hub.multiparts.get(upload)
        if known is None or form["oid"] != known["oid"]:
            raise Answer(404, "No such upload")
        whole = b""
        for n in range(1, known["count"] + 1):
            sent = self.hub.parts.get((upload, n))
            if sent is None or form["parts"][n - 1] != {"partNumber": n, "etag": f'"{hashlib.md5(sent).hexdigest()}"'}:
                raise Answer(400, f"Part {n} is not what was sent")
            whole += sent
        self.hub.put(known["oid"], whole)
        self.send_json({"success": True})

    def write_verify(self, repo):
        form = self.form()
        source = self.hub.arrived.get(form["oid"])
        if source is None:
            raise Answer(404, "The file was not uploaded")
        with open(source, "rb") as f:
            content = f.read()
        if len(content) != form["size"] or hashlib.sha256(content).hexdigest() != form["oid"]:
            with self.hub.lock:
                del self.hub.arrived[form["oid"]]
            raise Answer(400, "The uploaded file is not that of its digest")
        with self.hub.lock:
            self.hub.verified[form["oid"]] = source
        self.send(200, b"", Content_Type="text/plain; charset=utf-8")

    # Commits

    def write_commit(self, repo, name):
        lines = [json.loads(line) for line in self.sent_in.splitlines()]
        assert self.headers["Content-Type"] == "application/x-ndjson" and lines[0]["key"] == "header"
        header = lines[0]["value"]
        blobs = {}
        for line in lines[1:]:
            blobs[line["value"]["path"]] = self.blob_of_line(line["key"], line["value"])
        with self.hub.lock:
            head = self.branch(repo, name)
            if header.get("parentCommit", head.sha) != head.sha:
                raise Answer(412, "A commit has happened since. Please refresh and try again.")
            sha = repo.commit_blobs(blobs, name, header["summary"])
            self.hub.publish(repo, sha)
        self.send_json({"success": True, "commitOid": sha, "commitUrl": f"{self.hub.hub_url}/{repo.id}/commit/{sha}",
                        "hookOutput": "", "pullRequestUrl": None})

    def blob_of_line(self, kind, value):
        path = value["path"]
        if path.startswith("/") or ".." in path.split("/"):
            raise Answer(400, f"Invalid path: {path}")
        if kind == "deletedFile":
            return None
        if kind == "lfsFile":
            if (source := self.hub.stored(value["oid"])) is None:
                raise Answer(400, f"LFS pointer pointed to a file that does not exist: {path}")
            return hub_repos.lfs_blob(source)
        assert kind == "file" and value["encoding"] == "base64"
        content = base64.b64decode(value["content"])
        if path == "README.md" and (errors := metadata_errors(content.decode())):
            raise Answer(400, "\n".join([BAD_METADATA, *errors]))
        return hub_repos.regular_blob(self.hub.keep(content))


class Storage:
    """Mixed into the CDN's handler: takes what signed addresses allow."""

    def answer_put(self):
        oid, upload, part = self.query["oid"][0], self.query["uploadId"][0], int(self.query["partNumber"][0])
        signed = signature(f"{oid} {upload} {part}", self.query["Expires"][0])
        if self.query["Signature"][0] != signed or int(self.query["Expires"][0]) < time.time():
            raise Answer(403, "Request has expired")
        if part:
            with self.hub.lock:
                self.hub.parts[upload, part] = self.sent_in
        else:
            self.hub.put(oid, self.sent_in)
        self.send(200, b"", ETag=f'"{hashlib.md5(self.sent_in).hexdigest()}"')


class Written:
    """The part of the hub's state that clients write."""

    def __init__(self, files: str):
        self.files = files  # the folder of what is written
        self.arrived: dict[str, str] = {}  # LFS: digest as claimed → file
        self.verified: dict[str, str] = {}  # digest → file
        self.multiparts: dict[str, dict] = {}  # by upload id
        self.parts: dict[tuple[str, int], bytes] = {}
        self.part_size: int | None = None  # larger files come in parts of that size
        self.ignored: list[str] = []  # paths that a .gitignore names

    def keep(self, content: bytes) -> str:
        path = os.path.join(self.files, f"written-{secrets.token_hex(8)}")
        with open(path, "wb") as f:
            f.write(content)
        return path

    def put(self, oid: str, content: bytes) -> None:
        path = self.keep(content)
        with self.lock:
            self.arrived[oid] = path

    def stored(self, oid: str) -> str | None:
        """The file of an LFS object that is there and whole."""
        known = next((blob.source for blob in self.blobs.values() if blob.sha256 == oid), None)
        return self.verified.get(oid) or known

    def storage_address(self, oid: str, upload: str = "", part: int = 0) -> str:
        expires = str(int(time.time()) + 3600)
        return f"{self.cdn_url}/lfs?" + urlencode({
            "oid": oid, "uploadId": upload, "partNumber": part, "Expires": expires,
            "Signature": signature(f"{oid} {upload} {part}", expires)})

    def op_part_size(self, size):
        self.part_size = size

    def op_ignore(self, paths):
        self.ignored = paths
