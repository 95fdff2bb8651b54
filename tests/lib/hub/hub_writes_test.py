"""Does the test hub take what huggingface_hub sends, as the public one does? And is it there afterwards?"""

import hashlib
import json
import urllib.error
import urllib.request

import pytest
from hf_client import TINY, WEIGHTS, ask, calls, value

SNAPSHOT = "hf.snapshot_download('ann/new')"
COMMITS = "[c.title for c in hf.list_repo_commits('ann/new')]"


@pytest.fixture
def hub(hub):
    hub.add_token("hf_write", "ann", role="write")
    return hub


@pytest.fixture
def folder(tmp_path):
    for name, content in TINY.items():
        path = tmp_path / "folder" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return tmp_path / "folder"


def upload(folder, **options):
    more = "".join(f", {name}={value!r}" for name, value in options.items())
    return f"hf.upload_folder(repo_id='ann/new', folder_path={str(folder)!r}, commit_message='Mine'{more}).oid"


@pytest.mark.parametrize("part_size", [None, 300_000])
def test_a_folder_goes_up_and_comes_back(hub, home, folder, part_size):
    hub.part_size(part_size)
    out = ask(hub, home, "hf.create_repo('ann/new', private=True)", "hf.create_repo('ann/new', exist_ok=True)", upload(folder),
              COMMITS, SNAPSHOT, "hf.model_info('ann/new').private", token="hf_write")
    assert [o["error"] for o in out] == [None] * 6, out
    assert out[3]["value"] == ["Mine", "initial commit"] and out[5]["value"] is True
    files = files_of_new(home)
    assert files.pop(".gitattributes") and files == TINY
    puts = [r for r in hub.requests() if r["method"] == "PUT"]
    assert len(puts) == (4 if part_size else 1) and sum(r["bytes_received"] for r in puts) == len(WEIGHTS)
    assert {r["has_auth"] for r in puts} == {False}
    tree = {e[0]: e[1] for e in value(hub, home, "[(f.path, f.lfs.sha256) for f in hf.list_repo_tree('ann/new') if f.path.endswith('tensors')]",
                                      token="hf_write")}
    assert tree == {"model.safetensors": hashlib.sha256(WEIGHTS).hexdigest()}


def files_of_new(home):
    root = home / "hub" / "models--ann--new"
    root = root / "snapshots" / (root / "refs/main").read_text()
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def test_what_is_there_is_not_sent_again(hub, home, folder):
    again = value(hub, home, f"(hf.create_repo('ann/new'), {upload(folder)}, {upload(folder)})[1:]", token="hf_write")
    assert again[0] == again[1], "an equal tree makes no commit"
    calls(hub)
    (folder / "copy.safetensors").write_bytes(WEIGHTS)
    assert value(hub, home, upload(folder), token="hf_write") != again[0]
    assert not [c for c in calls(hub) if c.startswith("PUT")]
    assert value(hub, home, COMMITS, token="hf_write") == ["Mine", "Mine", "initial commit"]


def test_branches_and_parents(hub, home, folder):
    out = ask(hub, home, "hf.create_repo('ann/new')", "hf.create_branch('ann/new', branch='b')",
              "hf.create_branch('ann/new', branch='b')", upload(folder, revision="b"),
              upload(folder, parent_commit="0" * 40), "hf.list_repo_files('ann/new')",
              "sorted(hf.list_repo_files('ann/new', revision='b'))", upload(folder, revision="none"), token="hf_write")
    assert [o.get("status") for o in out] == [None, None, 409, None, 412, None, None, 404], out
    assert "A commit has happened since" in out[4]["message"]
    assert out[5]["value"] == [".gitattributes"] and out[6]["value"] == sorted([*TINY, ".gitattributes"])


def test_refusals(hub, home, folder):
    hub.add_repo("bob/his", TINY)
    hub.add_token("hf_read", "ann")
    his = upload(folder).replace("ann/new", "bob/his")
    cases = [("hf_read", "hf.create_repo('ann/new')", 403, "you must use a write token"),
             ("hf_write", "hf.create_repo('bob/new')", 403, "you don't have the rights"),
             ("hf_write", "hf.create_repo('bob/his')", 403, "rights"),
             ("hf_write", his, 403, "rights to upload"),
             ("hf_write", upload(folder), 404, "Repository Not Found"), ("hf_none", upload(folder), 401, "Invalid")]
    for token, expression, status, words in cases:
        out = ask(hub, home, expression, token=token)[0]
        assert out["status"] == status and words in out["message"], (token, expression, out)


@pytest.mark.parametrize("metadata, words", [
    ("license: nonesuch", '"license"'), ("base_model: /srv/models/x", '"base_model"'), ("tags: a", '"tags"'), ("a: [", "YAML")])
def test_a_card_that_the_hub_does_not_take(hub, home, folder, metadata, words):
    (folder / "README.md").write_text(f"---\n{metadata}\n---\n")
    out = ask(hub, home, "hf.create_repo('ann/new')", upload(folder), token="hf_write")[1]
    assert out["error"] == "ValueError" and words in out["message"], out


@pytest.mark.parametrize("fault", [("slow_in", {"rate": 4_000_000}), ("cut_in", {"after": 1000}), ("lost_answer", {}),
                                   ("late", {"seconds": 0.1}), ("status", {"code": 500})])
def test_faults_on_the_way_up(hub, home, folder, fault):
    """What breaks off is not there; the library tries a file again."""
    kind, args = fault
    hub.fault("/lfs", kind, listener="cdn", method="PUT", **args)
    out = ask(hub, home, "hf.create_repo('ann/new')", upload(folder), SNAPSHOT, token="hf_write")
    assert [o["error"] for o in out] == [None] * 3, out
    puts = [r for r in hub.requests() if r["method"] == "PUT"]
    assert len(puts) == (2 if kind in ("cut_in", "lost_answer", "status") else 1)
    assert puts[0]["bytes_received"] == (1000 if kind == "cut_in" else len(WEIGHTS))


def test_a_commit_whose_answer_is_lost_is_there(hub, home, folder):
    hub.fault("/commit/", "lost_answer")
    out = ask(hub, home, "hf.create_repo('ann/new')", upload(folder), COMMITS, token="hf_write")
    assert out[1]["error"] is not None and out[2]["value"] == ["Mine", "initial commit"]


def post(hub, path, body):
    request = urllib.request.Request(hub.endpoint + path, json.dumps(body).encode(),
                                     {"Authorization": "Bearer hf_write", "Content-Type": "application/json"})
    with urllib.request.urlopen(request) as answer:
        return json.loads(answer.read() or b"null")


def test_a_file_of_other_bytes_gets_no_name(hub, home):
    """Judged by its digest before a commit may name it."""
    value(hub, home, "hf.create_repo('ann/new')", token="hf_write")
    known = {"oid": hashlib.sha256(WEIGHTS).hexdigest(), "size": len(WEIGHTS)}
    batch = {"operation": "upload", "transfers": ["basic"], "hash_algo": "sha256", "objects": [known]}
    actions = post(hub, "/ann/new.git/info/lfs/objects/batch", batch)["objects"][0]["actions"]
    urllib.request.urlopen(urllib.request.Request(actions["upload"]["href"], WEIGHTS[:-1] + b"?", method="PUT")).close()
    with pytest.raises(urllib.error.HTTPError, match="400"):
        post(hub, actions["verify"]["href"].removeprefix(hub.endpoint), known)
    assert "actions" in post(hub, "/ann/new.git/info/lfs/objects/batch", batch)["objects"][0]
