"""Who may do what to whose jobs, and whose files a job may read: local users, tokens, certificates."""
import contextlib
import grp
import hashlib
import json
import os
import pathlib
import pwd
import re
import shutil
import sqlite3
import subprocess
import uuid

import grpc
import pytest

from ftd_fixture import BIN, api, api_grpc, state_name, wait_until
from helpers import ROWS, expect_error, fake_ftd, submit
from tiny_model import make_stub_model
from tls_daemon import tcp_address, tls_channel, tls_ftd
from tls_test import places_with

Code = grpc.StatusCode
SECRET = "TOP-SECRET-0123456789"
NOBODY = 65534
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="makes calls as another user")


def name_of(uid):
    with contextlib.suppress(KeyError):
        return pwd.getpwuid(uid).pw_name
    return str(uid)


class Stranger:
    """A local user who is not the daemon's and may use its socket."""

    def __init__(self, ftd):
        self.ftd = ftd
        ftd.root.chmod(0o755)
        os.chown(ftd.socket, 0, NOBODY)
        self.name = name_of(NOBODY)
        self.ftctl_program = ftd.root / "ftctl"  # where everybody can read it
        shutil.copy(BIN / "ftctl", self.ftctl_program)

    def ftctl(self, *args):
        return subprocess.run([self.ftctl_program, "--address", self.ftd.address, *map(str, args)], timeout=60,
                              capture_output=True, text=True, user=NOBODY, group=NOBODY, extra_groups=[], cwd="/",
                              env={"HOME": "/", **{name: os.environ[name] for name in ("PATH", "TSAN_OPTIONS") if name in os.environ}},
                              stdin=subprocess.DEVNULL)

    def submit(self, model, *args):
        rows = self.ftd.root / "rows.jsonl"
        rows.write_text(json.dumps(ROWS[0]) + "\n")
        rows.chmod(0o644)
        return self.ftctl("submit", "--quiet", "--mode", "full", "--model", model, "--dataset", rows, *args)


def public_model(directory):
    model = make_stub_model(directory)
    for path in [model, *model.iterdir()]:
        path.chmod(0o755 if path.is_dir() else 0o644)
    return model


# Files.

def link_out(model, secret):
    (model / "generation_config.json").symlink_to(secret)


def link_of_a_folder(model, secret):
    (secret.parent / "x.jinja").write_text(SECRET)
    (model / "additional_chat_templates").symlink_to(secret.parent)


def relative_link(model, secret):
    (model / "chat_template.jinja").symlink_to(os.path.relpath(secret, model))


def link_of_weights(model, secret):
    (model / "model.safetensors").unlink()
    (model / "model.safetensors").symlink_to(secret)


@pytest.mark.parametrize("spoil", [link_out, link_of_a_folder, relative_link, link_of_weights])
def test_no_link_leads_out_of_a_model(tmp_path, users_ftd, spoil):
    """Whoever calls: root does here, who may read all."""
    (tmp_path / "private").mkdir()
    secret = tmp_path / "private" / "secret"
    secret.write_text(SECRET)
    model = make_stub_model(tmp_path / "model")
    spoil(model, secret)
    error = expect_error(lambda: submit(users_ftd, model=model), Code.FAILED_PRECONDITION, "MODEL_CORRUPT")
    assert "leads out of its directory" in error.details() and SECRET not in error.details()


def test_a_pipe_is_not_waited_for(tmp_path, users_ftd):
    model = make_stub_model(tmp_path / "model")
    os.mkfifo(model / "tokenizer_config.json.jinja")
    error = expect_error(lambda: submit(users_ftd, model=model), Code.FAILED_PRECONDITION, "MODEL_CORRUPT")
    assert "is not a regular file" in error.details()


def test_links_within_a_model_and_a_snapshot_are_followed(tmp_path, users_ftd):
    repo = tmp_path / "models--o--n"
    snapshot, blobs = make_stub_model(repo / "snapshots" / "commit"), repo / "blobs"
    blobs.mkdir()
    for path in list(snapshot.iterdir()):
        path.rename(blobs / path.name)
        path.symlink_to(f"../../blobs/{path.name}")
    assert submit(users_ftd, model=snapshot).id
    (tmp_path / "link").symlink_to(snapshot)  # the name of a model may be a link: it is bound to what it means now
    assert submit(users_ftd, model=tmp_path / "link").id


@pytest.fixture(scope="module")
def users_ftd():
    with fake_ftd("steps=1") as daemon:
        yield daemon


@as_root
def test_a_user_names_only_what_that_user_can_read(tmp_path):
    with fake_ftd("steps=1") as ftd:
        stranger = Stranger(ftd)
        model = public_model(ftd.root / "public")
        done = stranger.submit(model)
        assert done.returncode == 0, done.stderr
        assert ftd.job(done.stdout.strip()).owner == stranger.name
        # A file that the user may not read, by mode; as a hard link to somebody's file would be.
        (model / "generation_config.json").write_text(json.dumps({"secret": SECRET}))
        (model / "generation_config.json").chmod(0o600)
        refused = stranger.submit(model)
        assert refused.returncode == 77 and "may not read" in refused.stderr and SECRET not in refused.stderr
        # Nor does the daemon note what is in it.
        assert places_with([SECRET], ftd.state_dir, [ftd.process.pid]) == [] and SECRET not in ftd.log()
        (model / "generation_config.json").unlink()
        # A folder that the user may not enter looks like one that is not there.
        private = public_model(ftd.root / "private" / "model")
        private.parent.chmod(0o700)
        refused = stranger.submit(model, "--mode", "lora", "--init-adapter", private)
        assert refused.returncode == 66 and "may name" in refused.stderr, refused.stderr
        there = stranger.submit(private)
        shutil.rmtree(private)
        gone = stranger.submit(private)
        assert there.returncode == gone.returncode == 66 and there.stderr == gone.stderr


@as_root
def test_the_users_rights_count_when_the_result_is_copied_too(tmp_path):
    """The worker is told whose model it reads; what it copies of it is in tests/e2e."""
    with fake_ftd("steps=1", config=f'[models]\ntiny = "{make_stub_model(tmp_path / "m")}"\n') as ftd:
        stranger = Stranger(ftd)
        model = public_model(ftd.root / "public")
        requests = []
        for named in (model, "tiny"):
            job = ftd.wait(stranger.submit(named).stdout.strip(), "SUCCEEDED")
            requests.append(json.loads((ftd.attempt_dir(job.id, 1) / "request.json").read_text()))
        own = ftd.wait(submit(ftd, model=model).id, "SUCCEEDED")
        requests.append(json.loads((ftd.attempt_dir(own.id, 1) / "request.json").read_text()))
        assert [r.get("model_reader_uid") for r in requests] == [NOBODY, None, None]


@as_root
def test_a_dataset_root_gives_no_right_that_the_user_lacks(tmp_path):
    with fake_ftd("steps=1", config=f'dataset_roots = ["{tmp_path}"]\n') as ftd:
        stranger = Stranger(ftd)
        tmp_path.chmod(0o755)
        ancestors = [p for p in tmp_path.parents if p != pathlib.Path("/") and not p.stat().st_mode & 1]
        for folder in ancestors:
            folder.chmod(0o755)
        model, rows = public_model(ftd.root / "public"), tmp_path / "rows.jsonl"
        rows.write_text(json.dumps(ROWS[0]) + "\n")
        for mode, code in ((0o644, 0), (0o600, 77)):
            rows.chmod(mode)
            if code:
                rows.write_text(SECRET)  # not a row: an error of its parser would quote it
            job = ftd.root / "job.json"
            job.write_text(json.dumps({"mode": "full", "model": str(model), "dataset": {"server_path": str(rows)}}))
            answer = stranger.ftctl("submit", "--quiet", "--file", job)
            assert answer.returncode == code, answer.stderr
            if not code:
                ftd.wait(answer.stdout.strip(), "SUCCEEDED")
            assert SECRET not in answer.stderr + ftd.log() and places_with([SECRET], ftd.state_dir, []) == []


def test_over_tcp_nothing_is_known_outside_the_roots(tmp_path):
    outside, inside = make_stub_model(tmp_path / "outside"), make_stub_model(tmp_path / "roots" / "model")
    alias = make_stub_model(tmp_path / "alias")
    (tmp_path / "roots" / "link").symlink_to(outside)
    with fake_ftd("steps=1", start=False, config=f'[models]\nmine = "{alias}"\n') as ftd:
        ftd.args += ["--listen", "127.0.0.1:0", "--model-roots", tmp_path / "roots"]
        ftd.start()
        with grpc.insecure_channel(tcp_address(ftd)) as channel:
            stub = api_grpc.FineTuningStub(channel)

            def over_tcp(model, **lora):
                spec = ftd.spec(model, ROWS, **lora)
                return stub.SubmitJob(api.SubmitJobRequest(spec=spec, request_id=str(uuid.uuid4())), timeout=30)

            for model in (inside, "mine"):
                job = over_tcp(model)
                assert job.owner == "tcp:anonymous"
            texts = set()
            for model in (outside, tmp_path / "absent", tmp_path / "roots" / "link", tmp_path / "roots" / ".." / "outside"):
                error = expect_error(lambda: over_tcp(model), Code.NOT_FOUND, "MODEL_NOT_FOUND")
                texts.add(re.sub("; did you mean .*", "", error.details().replace(str(model), "X")).splitlines()[0])
            assert len(texts) == 1, texts
            expect_error(lambda: over_tcp(inside, lora_init_adapter=str(outside)), Code.NOT_FOUND, "MODEL_NOT_FOUND")
        assert submit(ftd, model=outside).id  # on the socket


# Jobs.

METHODS = {method.name: method for method in api.DESCRIPTOR.services_by_name["FineTuning"].methods}
CHANGES = {"CancelJob", "PauseJob", "ResumeJob", "HoldJob", "ReleaseJob", "UpdateJob", "RetryJob", "DeleteJob",
           "PushResult"}
SUBMITS = {"SubmitJob", "CheckData", "EstimateJob", "UploadFile", "PullModel", "VerifyModel", "ExportJob", "Generate", "Prune"}
ADMINS = {"DeleteModel", "BackUpDatabase", "DrainQueue", "UndrainQueue"}
LOCAL = {"CreateToken", "ListTokens", "RevokeToken"}


def is_refused(channel, name):
    """Whether a call of the method, on the job "done" if on any, is refused for who calls."""
    method = METHODS[name]
    kind = (("stream_" if method.client_streaming else "unary_") +
            ("stream" if method.server_streaming else "unary"))
    fields = {"job": "done"} if "job" in method.input_type.fields_by_name else {}
    request = getattr(api, method.input_type.name)(**fields)
    call = getattr(channel, kind)(f"/ftd.v1.FineTuning/{name}",
                                  request_serializer=lambda message: message.SerializeToString(),
                                  response_deserializer=lambda data: data)
    try:
        answers = call(iter([request]) if method.client_streaming else request, timeout=30)
        if method.server_streaming:
            with contextlib.suppress(StopIteration):
                next(answers)
            answers.cancel()
    except grpc.RpcError as error:
        if error.code() == Code.PERMISSION_DENIED:
            assert "NOT_OWNER" in str(error.trailing_metadata()), name
            return True
    return False


def refused_to(channel):
    """The methods that are refused. DeleteJob comes last: it would succeed for an admin, and the job is there for all others."""
    return {name for name in sorted(METHODS, key=lambda name: name == "DeleteJob") if is_refused(channel, name)}


def test_calls_of_every_method_by_every_kind_of_caller(pki):
    """Each method is refused to whom the table refuses it: with the least role it is let through, with less it is not."""
    with tls_ftd(pki, "steps=1", config='certificate_role = "read"\n') as ftd:
        ftd.ftctl("token", "create", "submitter")
        secrets = {role: ftd.ftctl("token", "create", f"{role}er", "--role", role).stdout.strip()
                   for role in ("read", "admin")}
        secrets["submit"] = ftd.ftctl("token", "create", "second").stdout.strip()
        assert ftd.ftctl("token").stdout.splitlines() == ["submitter", "reader  read", "adminer  admin", "second"]
        ftd.wait(submit(ftd, name="done").id, "SUCCEEDED")
        with tls_channel(ftd, pki.ours, pki.laptop) as channel:
            assert refused_to(channel) == CHANGES | SUBMITS | ADMINS | LOCAL, "certificate"
        for role, denied in [("read", CHANGES | SUBMITS | ADMINS | LOCAL), ("submit", CHANGES | ADMINS | LOCAL),
                             ("admin", LOCAL)]:
            with tls_channel(ftd, pki.ours, None, [("authorization", f"Bearer {secrets[role]}")]) as channel:
                assert refused_to(channel) == denied, role
        with grpc.insecure_channel(ftd.address) as channel:
            assert refused_to(channel) == set()


def test_calls_of_every_method_by_callers_without_a_proof():
    """Over plaintext TCP, and by a local user who is not an admin: neither owns the job."""
    ftd = fake_ftd("steps=1", start=False)
    ftd.args += ["--listen", "127.0.0.1:0"]
    with ftd.start():
        ftd.wait(submit(ftd, name="done").id, "SUCCEEDED")
        with grpc.insecure_channel(tcp_address(ftd)) as channel:
            assert refused_to(channel) == CHANGES | ADMINS | LOCAL
        if os.geteuid() == 0:
            ftd.root.chmod(0o755)
            ftd.socket.chmod(0o666)
            with ftd.new_channel() as channel:
                os.seteuid(NOBODY)  # the kernel notes who connects, not who calls
                try:
                    grpc.channel_ready_future(channel).result(60)
                finally:
                    os.seteuid(0)
                assert refused_to(channel) == CHANGES | ADMINS | LOCAL


def test_a_token_owns_its_jobs_and_no_others(pki):
    with tls_ftd(pki, "steps=100000 step_ms=20", certificates=True) as ftd:
        users = {name: ftd.ftctl("token", "create", name).stdout.strip() for name in ("root", "ci")}
        channels = {name: tls_channel(ftd, pki.ours, None, [("authorization", f"Bearer {secret}")])
                    for name, secret in users.items()}
        channels["laptop"] = tls_channel(ftd, pki.ours, pki.laptop)
        stubs = {name: api_grpc.FineTuningStub(channel) for name, channel in channels.items()}
        local = submit(ftd, name="local")
        spec = ftd.spec(ftd.model, ROWS)
        jobs_of = {name: stub.SubmitJob(api.SubmitJobRequest(spec=spec, name=f"of-{name}"), timeout=30)
                   for name, stub in stubs.items()}
        assert {job.owner for job in jobs_of.values()} == {"token:root", "token:ci", "cert:laptop"}
        for name, stub in stubs.items():
            for job in [local, *(job for owner, job in jobs_of.items() if owner != name)]:
                error = expect_error(lambda: stub.CancelJob(api.CancelJobRequest(job=job.id), timeout=30),
                                     Code.PERMISSION_DENIED, "NOT_OWNER")
                assert job.owner in error.details()  # who may be told, as everybody sees the queue
                assert stub.GetJob(api.GetJobRequest(job=job.id), timeout=30).owner == job.owner
            held = stub.HoldJob(api.HoldJobRequest(job=jobs_of[name].id), timeout=30)
            assert state_name(held.state) == "HELD"
        refused = subprocess.run(
            [BIN / "ftctl", "--address", tcp_address(ftd), "--tls-ca", pki.ours.certificate, "--tls-cert",
             pki.laptop.certificate, "--tls-key", pki.laptop.key, "cancel", "local"], capture_output=True, text=True, timeout=60)
        assert refused.returncode == 77 and "only its owner or an admin" in refused.stderr, refused.stderr
        # Somebody else's request is not answered with that request's job.
        key = str(uuid.uuid4())
        request = api.SubmitJobRequest(spec=spec, request_id=key)
        assert stubs["ci"].SubmitJob(request, timeout=30).id == stubs["ci"].SubmitJob(request, timeout=30).id
        expect_error(lambda: stubs["root"].SubmitJob(request, timeout=30), Code.ALREADY_EXISTS, "REQUEST_ID_REUSED")
        # An admin of the machine may change all.
        for job in jobs_of.values():
            assert state_name(ftd.stub.CancelJob(api.CancelJobRequest(job=job.id)).state) == "CANCELLED"
        for channel in channels.values():
            channel.close()


def test_what_visibility_owner_hides(pki):
    with tls_ftd(pki, "steps=100000 step_ms=20", config='visibility = "owner"\ncertificate_role = "read"\n') as ftd:
        secret = ftd.ftctl("token", "create", "ci").stdout.strip()
        with tls_channel(ftd, pki.ours, None, [("authorization", f"Bearer {secret}")]) as channel, \
                tls_channel(ftd, pki.ours, pki.laptop) as reader:
            stub = api_grpc.FineTuningStub(channel)
            other = submit(ftd, name="other")
            ftd.wait("other", "RUNNING")
            own = stub.SubmitJob(api.SubmitJobRequest(spec=ftd.spec(ftd.model, ROWS), name="own"), timeout=30)
            for name in ("other", other.id, "absent"):
                for call, request in [
                        (stub.GetJob, api.GetJobRequest), (stub.WatchJob, api.WatchJobRequest), (stub.TailLog, api.TailLogRequest),
                        (stub.QueryMetrics, api.QueryMetricsRequest), (stub.DownloadResult, api.DownloadResultRequest),
                        (stub.ListCheckpoints, api.ListCheckpointsRequest), (stub.CancelJob, api.CancelJobRequest),
                        (stub.DeleteJob, api.DeleteJobRequest), (stub.UpdateJob, api.UpdateJobRequest),
                        (stub.RetryJob, api.RetryJobRequest), (stub.ExportJob, api.ExportJobRequest),
                        (stub.PushResult, api.PushResultRequest)]:
                    error = expect_error(lambda: call(request(job=name), timeout=30), Code.NOT_FOUND, "JOB_NOT_FOUND")
                    assert error.details() == f'no job "{name}"; `ftctl ls` lists the jobs'
            assert [job.id for job in stub.ListJobs(api.ListJobsRequest(), timeout=30).jobs] == [own.id]
            assert [job.id for job in ftd.stub.ListJobs(api.ListJobsRequest()).jobs] == [own.id, other.id]
            queue = next(stub.WatchQueue(api.WatchQueueRequest(), timeout=30))
            assert [job.id for job in queue.queued] == [own.id] and not queue.running and not queue.ended
            assert queue.queued_total == 1
            queue = next(ftd.stub.WatchQueue(api.WatchQueueRequest(), timeout=30))
            assert [running.job.id for running in queue.running] == [other.id]
            assert stub.GetJob(api.GetJobRequest(job="own"), timeout=30).id == own.id
            readers = api_grpc.FineTuningStub(reader)
            assert not readers.ListJobs(api.ListJobsRequest(), timeout=30).jobs
            spec = ftd.spec(ftd.model, ROWS)
            expect_error(lambda: readers.SubmitJob(api.SubmitJobRequest(spec=spec), timeout=30),
                         Code.PERMISSION_DENIED, "NOT_OWNER")


@as_root
def test_another_local_user_and_a_member_of_the_admin_group():
    with fake_ftd("steps=100000 step_ms=20", config="max_queued = 6\n") as ftd:
        stranger = Stranger(ftd)
        submit(ftd, name="roots")
        model = public_model(ftd.root / "public")
        ftd.wait("roots", "RUNNING")
        for args in (["cancel", "roots"], ["update", "roots", "--priority", "-5"], ["pause", "roots"], ["rm", "roots"],
                     ["retry", "roots"], ["models", "rm", "o/n"], ["token", "create", "mine", "--role", "admin"]):
            answer = stranger.ftctl(*args)
            assert answer.returncode == 77, (args, answer.returncode, answer.stderr)
        assert stranger.ftctl("show", "roots").returncode == 0
        # Nobody fills the queue for all: three of six.
        answers = [stranger.submit(model) for _ in range(4)]
        assert [answer.returncode for answer in answers] == [0, 0, 0, 75] and "as many as one owner may" in answers[3].stderr
        own = answers[0].stdout.strip()
        assert stranger.ftctl("hold", own).returncode == 0 and stranger.submit(model).returncode == 75  # held ones count
        assert submit(ftd).id
        assert stranger.ftctl("cancel", own).returncode == 0 and stranger.submit(model).returncode == 0
        ftd.terminate()
        group = grp.getgrgid(pwd.getpwuid(NOBODY).pw_gid).gr_name
        ftd.args += ["--admin-group", group]
        ftd.start()
        os.chown(ftd.socket, 0, NOBODY)
        answer = stranger.ftctl("update", "roots", "--priority", "-5")
        assert answer.returncode == 0 and ftd.job("roots").priority == -5, answer.stderr


def test_quotas_of_streams_uploads_and_disk():
    with fake_ftd("steps=1 save=1", start=False) as ftd:
        ftd.args += ["--listen", "127.0.0.1:0", "--max-streams-per-owner", "2", "--max-upload-mib-per-owner", "1",
                     "--max-stored-mib-per-owner", "64"]
        ftd.start()
        with grpc.insecure_channel(tcp_address(ftd)) as channel:
            stub = api_grpc.FineTuningStub(channel)

            def over_tcp(**fields):
                return stub.SubmitJob(api.SubmitJobRequest(spec=ftd.spec(ftd.model, ROWS), **fields), timeout=30)

            watches = [stub.WatchQueue(api.WatchQueueRequest(), timeout=60) for _ in range(2)]
            for watch in watches:
                next(watch)
            error = expect_error(lambda: next(stub.WatchQueue(api.WatchQueueRequest(), timeout=60)),
                                 Code.RESOURCE_EXHAUSTED, "QUOTA_EXCEEDED")
            assert "2 streams open" in error.details()
            assert next(ftd.stub.WatchQueue(api.WatchQueueRequest(), timeout=60))  # another owner has its own
            watches[0].cancel()

            def opens():
                with contextlib.suppress(grpc.RpcError):
                    return next(stub.WatchQueue(api.WatchQueueRequest(), timeout=60))

            assert wait_until(opens, "the cancelled stream's place")
            watches[1].cancel()

            def upload(data):
                header = api.UploadFileRequest.Header(sha256=hashlib.sha256(data).hexdigest(), size_bytes=len(data))
                return stub.UploadFile(iter([api.UploadFileRequest(header=header), api.UploadFileRequest(data=data)]), timeout=60)

            assert upload(b"a" * (600 << 10)).size_bytes == 600 << 10
            assert upload(b"a" * (600 << 10)).already_present  # the same again is no more
            expect_error(lambda: upload(b"b" * (600 << 10)), Code.RESOURCE_EXHAUSTED, "QUOTA_EXCEEDED")
            job = over_tcp(name="big")
            ftd.wait(job.id, "SUCCEEDED")
            assert over_tcp().id
            with open(ftd.state_dir / "results" / "big" / "more", "wb") as file:
                os.posix_fallocate(file.fileno(), 0, 65 << 20)
            expect_error(over_tcp, Code.RESOURCE_EXHAUSTED, "QUOTA_EXCEEDED")
            assert submit(ftd).id
            stub.DeleteJob(api.DeleteJobRequest(job="big", results=True), timeout=30)
            assert over_tcp().id


def test_a_job_of_nobody_is_the_admins():
    """As an older ftd stored those that came over plaintext."""
    with fake_ftd("steps=100000 step_ms=20", start=False) as ftd:
        ftd.args += ["--listen", "127.0.0.1:0"]
        ftd.start()
        submit(ftd, name="old")
        ftd.terminate()
        with sqlite3.connect(ftd.state_dir / "ftd.db") as database:
            database.execute("UPDATE jobs SET owner = ''")
        ftd.start()
        with grpc.insecure_channel(tcp_address(ftd)) as channel:
            stub = api_grpc.FineTuningStub(channel)
            expect_error(lambda: stub.CancelJob(api.CancelJobRequest(job="old"), timeout=30), Code.PERMISSION_DENIED, "NOT_OWNER")
        assert state_name(ftd.stub.CancelJob(api.CancelJobRequest(job="old")).state) in ("CANCELLED", "CANCELLING")
