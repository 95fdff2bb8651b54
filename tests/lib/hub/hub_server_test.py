"""Is the test hub what huggingface_hub and datasets take for the public one? What they are told, given and refused."""

import hashlib
import io
import json
import os
import pathlib
import subprocess
import sys

import pyarrow
import pyarrow.parquet
from hf_client import CONFIG, DOWNLOAD, SNAPSHOT, TINY, WEIGHTS, ask, calls, files_of, in_cache, value
from hub_fixture import DEADLINE_S, Hub


def test_ids_are_gits(hub, home):
    """Golden numbers: `git write-tree` over these files, and `git commit-tree -m Upload` of that by Ann at the time
    that hub_repos.EPOCH names."""
    sha = hub.add_repo("ann/tiny", {"a/b/c.txt": b"hi\n", "a.txt": b"yo\n", "a/d": b"z\n", "a-x/r": b"q\n"})
    tree = value(hub, home, "[(e.path, getattr(e, 'blob_id', None) or e.tree_id)"
                 " for e in hf.list_repo_tree('ann/tiny', recursive=True)]")
    assert [path for path, _ in tree] == ["a", "a-x", "a-x/r", "a.txt", "a/b", "a/b/c.txt", "a/d"]
    ids = dict(map(tuple, tree))
    assert ids["a/b/c.txt"] == "45b983be36b73c0788dc9cbcb76cbb80fc7bb057"
    assert ids["a"] == "3c3ea89212140456b621679b7e5be2d76a9d9428"
    assert sha == "bac323b338f2cac5b108f5663c9663ddc68dc0b3"


def test_repository_info(hub, home):
    sha = hub.add_repo("ann/tiny", TINY)
    hub.add_repo("ann/rows", {"data/train.parquet": b"PAR1"}, type="dataset", gated="auto")
    out = ask(hub, home, "vars(hf.model_info('ann/tiny'))", "hf.model_info('ann/tiny', files_metadata=True).siblings",
              "vars(hf.dataset_info('ann/rows'))", "hf.list_repo_files('ann/tiny')",
              f"hf.model_info('ann/tiny', revision='{sha[:8]}').sha", "hf.model_info('ann/tiny', expand=['sha']).gated",
              "[f.lfs.sha256 for f in hf.get_paths_info('ann/tiny', ['model.safetensors', 'none'])]",
              "[f.path for f in hf.get_paths_info('ann/rows', ['data'], repo_type='dataset')]")
    info, siblings, dataset, names, short, gated, lfs, folder = (o["value"] for o in out)
    assert (info["id"], info["sha"], info["gated"], info["private"]) == ("ann/tiny", sha, False, False)
    assert "sha256='" + hashlib.sha256(WEIGHTS).hexdigest() in siblings[1] and "size=1024000" in siblings[1]
    assert (dataset["id"], dataset["gated"]) == ("ann/rows", "auto")
    assert names == sorted(TINY) and short == sha and gated is None
    assert lfs == [hashlib.sha256(WEIGHTS).hexdigest()] and folder == ["data"]


def test_trees_come_in_pages(hub, home):
    hub.add_repo("ann/tiny", {f"{i}/{name}": b"x" for i in range(3) for name in "ab"})
    hub.page_size(2)
    names = value(hub, home, "[f.path for f in hf.list_repo_tree('ann/tiny', recursive=True, expand=True)]")
    assert names == ["0", "0/a", "0/b", "1", "1/a", "1/b", "2", "2/a", "2/b"] and len(hub.requests(clear=True)) == 5
    assert value(hub, home, "[f.path for f in hf.list_repo_tree('ann/tiny', '1')]") == ["1/a", "1/b"]


def test_revisions(hub, home):
    first = hub.add_repo("ann/tiny", {"a": b"1"}, tags=["v1"])
    pull = hub.commit("ann/tiny", {"a": b"pull"}, branch="refs/pr/1")
    second = hub.commit("ann/tiny", {"a": b"2"}, title="Two")
    out = ask(hub, home, "vars(hf.list_repo_refs('ann/tiny', include_pull_requests=True))",
              "[(c.commit_id, c.title) for c in hf.list_repo_commits('ann/tiny')]",
              *(f"open(hf.hf_hub_download('ann/tiny', 'a', revision='{rev}')).read()"
                for rev in ("main", "v1", first, first[:7], "refs/pr/1")))
    refs, commits, *contents = (o["value"] for o in out)
    assert [second in refs["branches"][0], first in refs["tags"][0], pull in refs["pull_requests"][0]] == [True] * 3
    assert commits == [[second, "Two"], [first, "Upload"]]
    assert contents == ["2", "1", "1", "1", "pull"]
    refs_dir = in_cache(home) / "refs"
    assert {str(p.relative_to(refs_dir)): p.read_text() for p in refs_dir.rglob("*") if p.is_file()} == {
        "main": second, "v1": first, first[:7]: first, "refs/pr/1": pull}


def test_patterns_and_datasets(hub, home):
    hub.add_repo("ann/rows", {"README.md": b"# Rows\n", "data/a.parquet": b"PAR1", "data/b.csv": b"x\n"},
                 type="dataset")
    path = value(hub, home, "hf.snapshot_download('ann/rows', repo_type='dataset', allow_patterns=['data/*'],"
                 " ignore_patterns='*.csv')")
    assert [str(p.relative_to(path)) for p in pathlib.Path(path).rglob("*.*")] == ["data/a.parquet"]
    assert f"{os.sep}datasets--ann--rows{os.sep}" in path
    assert any(r["path"].startswith("/datasets/ann/rows/resolve/") for r in hub.requests())


def test_large_text_comes_compressed(hub, home):
    """As from the public hub's cache, to those who accept it: without a length, decoded by the client."""
    text = b"word\n" * 1000
    hub.add_repo("ann/tiny", {"vocab.txt": text})
    path = value(hub, home, "hf.hf_hub_download('ann/tiny', 'vocab.txt')")
    assert pathlib.Path(path).read_bytes() == text and hub.bytes_sent("^GET .*vocab.txt") < 500


def test_datasets_loads_alpaca(hub, home):
    table = pyarrow.table({"instruction": ["Add.", "Say."], "input": ["1 1", ""], "output": ["2", "Hi"],
                           "text": ["Add. 1 1 2", "Say. Hi"]})
    parquet = io.BytesIO()
    pyarrow.parquet.write_table(table, parquet)
    hub.add_repo("tatsu-lab/alpaca", {"README.md": b"---\nlicense: cc-by-nc-4.0\n---\n",
                                      "data/train-00000-of-00001-a09b74b3ef9c3b56.parquet": parquet.getvalue()},
                 type="dataset")
    code = "import datasets, json; print(json.dumps(list(datasets.load_dataset('tatsu-lab/alpaca', split='train'))))"
    done = subprocess.run([sys.executable, "-c", code], env=hub.env(home), capture_output=True, text=True,
                          timeout=DEADLINE_S)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == table.to_pylist()


def test_refusals(hub, home):
    """expression → exception, and what its message says."""
    hub.add_repo("ann/tiny", TINY)
    hub.add_repo("meta/gated", {"config.json": CONFIG}, gated="manual")
    hub.add_repo("meta/secret", {"config.json": CONFIG}, private=True)
    hub.add_repo("meta/off", {"config.json": CONFIG}, disabled=True)
    hub.add_token("hf_good", "ann", may_read=["meta/gated", "meta/secret"])
    hub.add_token("hf_other", "bob")
    hub.add_token("hf_old", "bob", expired=True)
    config = "hf.hf_hub_download('{}', 'config.json')".format
    cases = [
        (None, config("meta/gated"), "GatedRepoError", 401, "You must have access to it and be authenticated"),
        ("hf_other", config("meta/gated"), "GatedRepoError", 403, "Visit https://huggingface.co/meta/gated to ask"),
        ("hf_good", config("meta/gated"), None, None, ""),
        (None, "hf.model_info('meta/gated').gated", None, None, "manual"),
        (None, "[f.path for f in hf.list_repo_tree('meta/gated')]", None, None, ""),
        (None, "hf.list_repo_commits('meta/gated')", "GatedRepoError", 401, ""),
        (None, "hf.auth_check('meta/gated')", "GatedRepoError", 401, ""),
        ("hf_other", "hf.model_info('meta/secret')", "RepositoryNotFoundError", 404, ""),
        ("hf_good", config("meta/secret"), None, None, ""),
        ("hf_other", config("no/such"), "RepositoryNotFoundError", 404, ""),
        (None, config("meta/off"), "LocalEntryNotFoundError", None, ""),
        (None, "hf.model_info('meta/off').disabled", None, None, ""),
        (None, "hf.model_info('ann/tiny', revision='nope')", "RevisionNotFoundError", 404, "Invalid rev id: nope"),
        (None, "hf.hf_hub_download('ann/tiny', 'config.json', revision='nope')", "RevisionNotFoundError", 404, ""),
        (None, "hf.hf_hub_download('ann/tiny', 'nope')", "RemoteEntryNotFoundError", 404, "Entry Not Found"),
        (None, "list(hf.list_repo_tree('ann/tiny', 'nope'))", "RemoteEntryNotFoundError", 404, 'on "main"'),
        ("hf_old", "hf.model_info('ann/tiny')", "HfHubHTTPError", 401, "Invalid credentials in Authorization header"),
        ("hf_wrong", config("ann/tiny"), "HfHubHTTPError", 401, "Invalid credentials in Authorization header"),
        ("hf_good", "hf.whoami()['name']", None, None, ""),
        ("hf_wrong", "hf.whoami()", "HfHubHTTPError", 401, "Invalid user token"),
    ]
    for token in {case[0] for case in cases}:
        mine = [case for case in cases if case[0] == token]
        for case, out in zip(mine, ask(hub, home / str(token), *(case[1] for case in mine), token=token), strict=True):
            assert out["error"] == case[2], (case, out)
            assert out["error"] is None or (out["status"] == case[3] and case[4] in out["message"]), (case, out)


def test_who_is_nobody_learns_nothing(home):
    """Without a token, what does not exist and what is private are one bare 401. The library takes it for "not found"
    by the shape of an https address alone; so this takes TLS."""
    with Hub(tls=True) as hub:
        hub.add_repo("meta/secret", {"config.json": CONFIG}, private=True)
        for out in ask(hub, home, *(f"hf.model_info('{repo}')" for repo in ("no/such", "meta/secret")),
                       "hf.hf_hub_download('no/such', 'config.json')"):
            assert (out["error"], out["status"]) == ("RepositoryNotFoundError", 401)
            assert "Invalid username or password." in out["message"]


def test_the_token_stays_with_the_hub(hub, home):
    hub.add_repo("ann/tiny", TINY, private=True)
    hub.add_token("hf_good", "ann")
    value(hub, home, DOWNLOAD, token="hf_good")
    assert {(r["listener"], r["has_auth"]) for r in hub.requests()} == {("hub", True), ("cdn", False)}


def test_login_stores_the_token(hub, home):
    hub.add_token("hf_good", "ann")
    out = ask(hub, home, "hf.login('hf_good')", "hf.get_token()")
    assert out[1]["value"] == "hf_good"
    assert (home / "token").read_text() == "hf_good"
    assert (home / "stored_tokens").read_text() == "[ann-laptop]\nhf_token = hf_good\n\n"
    assert {(home / name).stat().st_mode & 0o777 for name in ("token", "stored_tokens")} == {0o600}
    assert home.stat().st_mode & 0o777 == 0o700
    assert value(hub, home, "hf.whoami()['name']") == "ann"


def test_renamed(hub, home):
    """The library follows redirects, and files under the name that it was asked for."""
    hub.add_repo("ann/tiny", TINY, renamed_from="tiny-old")
    out = ask(hub, home, "hf.model_info('tiny-old').id", "hf.model_info('Ann/Tiny').id",
              "hf.hf_hub_download('tiny-old', 'model.safetensors')", "len(hf.list_repo_files('tiny-old'))")
    assert [o["value"] for o in out[:2]] == ["ann/tiny"] * 2 and out[3]["value"] == 3
    assert "models--tiny-old" in out[2]["value"] and pathlib.Path(out[2]["value"]).read_bytes() == WEIGHTS
    assert calls(hub)[:2] == ["GET /api/models/tiny-old 307", "GET /api/models/ann/tiny 200"]


def test_tls(home):
    with Hub(tls=True) as hub:
        hub.add_repo("ann/tiny", TINY)
        untrusted = ask(hub, home, "hf.model_info('ann/tiny')", SSL_CERT_FILE="")[0]
        assert untrusted["error"] == "ConnectError" and "CERTIFICATE_VERIFY_FAILED" in untrusted["message"]
        value(hub, home, SNAPSHOT)
        assert files_of(home) == TINY
        assert hub.endpoint.startswith("https://127.0.0.1:") and hub.cdn.startswith("https://localhost:")
