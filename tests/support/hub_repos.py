"""Repositories as the hub keeps them: branches and tags on commits, commits on trees, trees on blobs, with git's own
object ids. Contents stay in the files they came from; only their ids and sizes are held.

An LFS file is known by two ids: git stores a three-line pointer (`oid` is the pointer's), the CDN serves the content
(`sha256`). That split is what clients must get right, so it is computed here as git does it, not made up.
"""

from __future__ import annotations

import dataclasses
import datetime
import fnmatch
import hashlib
import os
import re

LFS_PATTERNS = ("*.safetensors", "*.parquet", "*.bin")
LFS_SIZE = 1 << 20  # larger files are LFS whatever their name
EPOCH = 1_700_000_000  # commit n is n minutes later: dates, and so commit ids, do not depend on the clock
SHORT_SHA = re.compile(r"[0-9a-f]{7,39}")


def git_oid(kind: str, body: bytes) -> str:
    return hashlib.sha1(b"%s %d\0" % (kind.encode(), len(body)) + body).hexdigest()


@dataclasses.dataclass(frozen=True)
class Blob:
    source: str  # the file that holds the content
    size: int
    oid: str  # git's id of what git stores: the content, or the LFS pointer
    sha256: str | None = None  # LFS only
    pointer_size: int = 0

    @property
    def etag(self) -> str:
        return self.sha256 or self.oid

    @property
    def xet_hash(self) -> str:
        """Stands for the id under which the storage behind the CDN knows an LFS file: neither of the other two."""
        return hashlib.sha256(b"xet" + self.etag.encode()).hexdigest()


def is_lfs(path: str, size: int, patterns) -> bool:
    if patterns is not None:
        return any(fnmatch.fnmatch(path, pattern) for pattern in patterns)
    return size > LFS_SIZE or any(fnmatch.fnmatch(path, pattern) for pattern in LFS_PATTERNS)


def blob_of(path: str, source: str, patterns) -> Blob:
    """Reads `source` once to learn its ids."""
    size = os.path.getsize(source)
    return lfs_blob(source) if is_lfs(path, size, patterns) else regular_blob(source)


def digest_of(source: str, content) -> str:
    with open(source, "rb") as f:
        while chunk := f.read(1 << 20):
            content.update(chunk)
    return content.hexdigest()


def regular_blob(source: str) -> Blob:
    size = os.path.getsize(source)
    return Blob(source, size, digest_of(source, hashlib.sha1(b"blob %d\0" % size)))


def lfs_blob(source: str) -> Blob:
    size = os.path.getsize(source)
    sha256 = digest_of(source, hashlib.sha256())
    pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{sha256}\nsize {size}\n".encode()
    return Blob(source, size, git_oid("blob", pointer), sha256, len(pointer))


@dataclasses.dataclass(frozen=True)
class Commit:
    sha: str
    parent: str | None
    title: str
    date: str
    files: dict[str, Blob]
    folders: dict[str, str]  # path → tree id; "" is the root


def tree_ids(files: dict[str, Blob]) -> dict[str, str]:
    """Git's id of every folder. Entries sort as if a folder's name ended in "/"."""
    children: dict[str, dict[str, str]] = {"": {}}
    for path, blob in files.items():
        folder, _, name = path.rpartition("/")
        children.setdefault(folder, {})[name] = blob.oid
        while folder:
            folder, _, _ = folder.rpartition("/")
            children.setdefault(folder, {})
    ids: dict[str, str] = {}
    for folder in sorted(children, key=lambda f: (f != "", f.count("/")), reverse=True):  # deepest first, root last
        entries = [(name, "100644", oid) for name, oid in children[folder].items()]
        prefix = f"{folder}/" if folder else ""
        entries += [(sub[len(prefix):] + "/", "40000", ids[sub]) for sub in ids
                    if sub.startswith(prefix) and "/" not in sub[len(prefix):]]
        body = b"".join(f"{mode} {name.rstrip('/')}\0".encode() + bytes.fromhex(oid)
                        for name, mode, oid in sorted(entries))
        ids[folder] = git_oid("tree", body)
    return ids


@dataclasses.dataclass
class Repo:
    type: str  # "model" or "dataset"
    id: str
    gated: str | bool = False
    private: bool = False
    disabled: bool = False
    lfs: list[str] | None = None
    refs: dict[str, str] = dataclasses.field(default_factory=dict)  # full name → commit
    commits: dict[str, Commit] = dataclasses.field(default_factory=dict)  # oldest first

    @property
    def oid(self) -> str:
        return hashlib.sha1(f"{self.type} {self.id}".encode()).hexdigest()[:24]

    @property
    def api_type(self) -> str:
        return f"{self.type}s"

    @property
    def page(self) -> str:
        return self.id if self.type == "model" else f"datasets/{self.id}"

    def commit(self, changes: dict[str, str | None], branch: str, title: str) -> str:
        """Adds a commit on `branch` (a new one starts from main) with `changes`: path → file, or None to delete."""
        return self.commit_blobs({path: source and blob_of(path, source, self.lfs) for path, source in changes.items()},
                                 branch, title)

    def commit_blobs(self, changes: dict[str, Blob | None], branch: str, title: str) -> str:
        ref = full_ref(branch)
        parent = self.refs.get(ref) or self.refs.get("refs/heads/main")
        files = dict(self.commits[parent].files) if parent else {}
        for path, blob in changes.items():
            if blob is None:
                files.pop(path, None)
            else:
                files[path] = blob
        folders = tree_ids(files)
        at = EPOCH + 60 * len(self.commits)
        author = f"Ann <ann@example.com> {at} +0000"
        body = "".join([f"tree {folders['']}\n", f"parent {parent}\n" if parent else "", f"author {author}\n",
                        f"committer {author}\n\n{title}\n"])
        sha = git_oid("commit", body.encode())
        date = datetime.datetime.fromtimestamp(at, datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.000Z")
        self.commits[sha] = Commit(sha, parent, title, date, files, folders)
        self.refs[ref] = sha
        return sha

    def resolve(self, rev: str) -> Commit | None:
        """A branch, a tag, a full or long enough commit id, or a ref such as refs/pr/1."""
        for name in (f"refs/heads/{rev}", f"refs/tags/{rev}", rev):
            if name in self.refs:
                return self.commits[self.refs[name]]
        if rev in self.commits:
            return self.commits[rev]
        if SHORT_SHA.fullmatch(rev):
            found = [commit for sha, commit in self.commits.items() if sha.startswith(rev)]
            return found[0] if len(found) == 1 else None
        return None

    def default(self) -> Commit:
        return self.resolve("main") or self.commits[next(iter(self.refs.values()))]

    def history(self, commit: Commit) -> list[Commit]:
        chain = [commit]
        while chain[-1].parent:
            chain.append(self.commits[chain[-1].parent])
        return chain


def full_ref(name: str) -> str:
    return name if name.startswith("refs/") else f"refs/heads/{name}"


def info(repo: Repo, commit: Commit, blobs: bool) -> dict:
    """What /api/models/ID and /api/datasets/ID answer, as far as clients that download read it."""
    out = {"_id": repo.oid, "id": repo.id, "author": repo.id.rpartition("/")[0] or None, "sha": commit.sha,
           "lastModified": commit.date, "createdAt": next(iter(repo.commits.values())).date, "private": repo.private,
           "gated": repo.gated, "disabled": repo.disabled, "tags": ["region:us"], "downloads": 0, "likes": 0,
           "cardData": {}, "usedStorage": sum(blob.size for blob in commit.files.values()),
           "siblings": [sibling(path, blob, blobs) for path, blob in sorted(commit.files.items())]}
    if repo.type == "model":
        out |= {"modelId": repo.id, "library_name": "transformers", "pipeline_tag": "text-generation", "config": {},
                "spaces": []}
    return out


def sibling(path: str, blob: Blob, blobs: bool) -> dict:
    out: dict = {"rfilename": path}
    if blobs:
        out |= {"size": blob.size, "blobId": blob.oid}
        if blob.sha256:  # named sha256 here, and oid in tree listings
            out["lfs"] = {"sha256": blob.sha256, "size": blob.size, "pointerSize": blob.pointer_size}
    return out


def tree_entry(commit: Commit, path: str, expand: bool) -> dict:
    """One row of a tree listing: a file, or a folder if no file has that path."""
    blob = commit.files.get(path)
    if blob is None:
        out = {"type": "directory", "oid": commit.folders[path], "size": 0, "path": path}
    else:
        out = {"type": "file", "oid": blob.oid, "size": blob.size, "path": path}
        if blob.sha256:
            out |= {"lfs": {"oid": blob.sha256, "size": blob.size, "pointerSize": blob.pointer_size},
                    "xetHash": blob.xet_hash}
    if expand:
        out["lastCommit"] = {"id": commit.sha, "title": commit.title, "date": commit.date}
        if blob is not None:
            out["securityFileStatus"] = {"status": "safe", "avScan": None, "pickleImportScan": None}
    return out


def tree_paths(commit: Commit, folder: str, recursive: bool) -> list[str] | None:
    """Paths under `folder`, each folder before what it holds; None if there is no such folder."""
    if folder not in commit.folders:
        return None
    prefix = f"{folder}/" if folder else ""
    paths = [p for p in [*commit.files, *commit.folders] if p and p != folder and p.startswith(prefix)]
    return sorted(p for p in paths if recursive or "/" not in p[len(prefix):])


def refs(repo: Repo, pulls: bool) -> dict:
    kinds = {"branches": "refs/heads/", "converts": "refs/convert/", "tags": "refs/tags/"}
    if pulls:
        kinds["pullRequests"] = "refs/pr/"
    return {kind: [{"name": ref[len(prefix):], "ref": ref, "targetCommit": sha}
                   for ref, sha in repo.refs.items() if ref.startswith(prefix)]
            for kind, prefix in kinds.items()}
