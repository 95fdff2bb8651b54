"""TCP with TLS 1.3: who gets in and who does not, with grpcio, Python's ssl module and ftctl as clients."""
import base64
import hashlib
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import ssl
import subprocess
import urllib.request
from concurrent import futures

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

from ftd_fixture import BIN, api, api_grpc, jobs, wait_until
from helpers import ROWS, expect_error, fake_ftd, submit
from tls_daemon import tcp_address, tls_channel, tls_ftd

Code = grpc.StatusCode
SECRET = "tok-7f3c9b1e5d2a48c6b0e9d8f7a6c5b4e3"


def token_line(name, secret):
    return f"{hashlib.sha256(secret.encode()).hexdigest()}  {name}\n"


def bearer(secret):
    return [("authorization", f"Bearer {secret}")]


def outcome(channel):
    """(code, message) of a call; the channel is closed."""
    with channel:
        try:
            api_grpc.FineTuningStub(channel).GetServerInfo(api.GetServerInfoRequest(), timeout=20)
            return Code.OK, ""
        except grpc.RpcError as error:
            return error.code(), error.details()


def test_a_certificate_of_our_authority_lets_in_and_names_the_owner(pki):
    with tls_ftd(pki) as ftd, tls_channel(ftd, pki.ours, pki.laptop) as channel:
        stub = api_grpc.FineTuningStub(channel)
        job = stub.SubmitJob(api.SubmitJobRequest(spec=ftd.spec(ftd.model, ROWS)), timeout=20)
        assert job.owner == "cert:laptop"
        states = [e.state_change.to for e in stub.WatchJob(api.WatchJobRequest(job=job.id), timeout=60)
                  if e.WhichOneof("event") == "state_change"]
        assert states[-1] == jobs.Job.SUCCEEDED
        assert ProtoReflectionDescriptorDatabase(channel).get_services()


def test_who_does_not_get_in(pki):
    with tls_ftd(pki) as ftd:
        assert outcome(tls_channel(ftd, pki.ours, pki.laptop))[0] == Code.OK
        rows = [
            ("no certificate", tls_channel(ftd, pki.ours), Code.UNAUTHENTICATED, "TOKEN_INVALID.*--tls-cert"),
            ("no common name", tls_channel(ftd, pki.ours, pki.nameless), Code.UNAUTHENTICATED, "common name"),
            ("wrong authority", tls_channel(ftd, pki.ours, pki.stranger), Code.UNAVAILABLE, ""),
            ("expired", tls_channel(ftd, pki.ours, pki.expired), Code.UNAVAILABLE, ""),
            ("ftd is not trusted", tls_channel(ftd, pki.theirs, pki.laptop), Code.UNAVAILABLE, "(?i)certificate"),
            ("plaintext", grpc.insecure_channel(tcp_address(ftd)), Code.UNAVAILABLE, ""),
        ]
        for what, channel, code, says in rows:
            got, message = outcome(channel)
            assert got == code and re.search(says, message), (what, got, message)
        assert outcome(tls_channel(ftd, pki.ours, pki.laptop))[0] == Code.OK


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_tls_1_3_alone_is_spoken(pki, version):
    context = ssl.create_default_context(cafile=pki.ours.certificate)
    context.minimum_version = context.maximum_version = version
    context.set_alpn_protocols(["h2"])
    context.load_cert_chain(pki.laptop.certificate, pki.laptop.key)
    with tls_ftd(pki) as ftd:
        host, port = tcp_address(ftd).split(":")
        with socket.create_connection((host, int(port)), timeout=20) as plain:
            if version == ssl.TLSVersion.TLSv1_3:
                with context.wrap_socket(plain, server_hostname=host) as tls:
                    assert tls.version() == "TLSv1.3" and tls.selected_alpn_protocol() == "h2"
            else:
                with pytest.raises(ssl.SSLError):
                    context.wrap_socket(plain, server_hostname=host)
                wait_until(lambda: "no shared cipher" in ftd.log(), "ftd's word on it")
        assert outcome(tls_channel(ftd, pki.ours, pki.laptop))[0] == Code.OK


@pytest.mark.parametrize("certificates", [False, True])
def test_tokens(pki, certificates):
    known = token_line("dashboard", SECRET)
    with tls_ftd(pki, certificates=certificates, tokens="# who may come\n\n" + known) as ftd:
        def with_token(metadata):
            return outcome(tls_channel(ftd, pki.ours, None, metadata))

        assert with_token(bearer(SECRET))[0] == Code.OK
        for metadata in (bearer(SECRET + "x"), bearer(SECRET[:-1]), bearer(""), bearer(SECRET.upper()),
                         bearer(hashlib.sha256(SECRET.encode()).hexdigest()), bearer("dashboard"),
                         [("authorization", SECRET)],
                         [("authorization", "Basic " + base64.b64encode(f"a:{SECRET}".encode()).decode())], []):
            code, message = with_token(metadata)
            assert code == Code.UNAUTHENTICATED and message.startswith("TOKEN_INVALID: "), metadata
            assert SECRET not in message
        if certificates:  # a wrong token is refused whatever else is shown
            assert outcome(tls_channel(ftd, pki.ours, pki.laptop, bearer("wrong")))[0] == Code.UNAUTHENTICATED
        with tls_channel(ftd, pki.ours, None, bearer(SECRET)) as channel:
            stub = api_grpc.FineTuningStub(channel)
            assert stub.SubmitJob(api.SubmitJobRequest(spec=ftd.spec(ftd.model, ROWS))).owner == "token:dashboard"


def test_a_token_is_revoked_and_given_at_once_on_an_open_connection(pki):
    first, second = token_line("first", SECRET), token_line("second", "other-secret")
    with tls_ftd(pki, certificates=False, tokens=first) as ftd, \
            tls_channel(ftd, pki.ours, None, bearer(SECRET)) as channel:
        def code():
            try:
                api_grpc.FineTuningStub(channel).GetServerInfo(api.GetServerInfoRequest(), timeout=20)
                return Code.OK
            except grpc.RpcError as error:
                return error.code()

        assert code() == Code.OK
        ftd.tokens.write_text(second)
        assert code() == Code.UNAUTHENTICATED
        ftd.tokens.write_text(second + first)
        assert code() == Code.OK
        ftd.tokens.write_text("not a digest  name\n" + first)
        assert code() == Code.UNAUTHENTICATED
        assert f"because of {ftd.tokens}: line 1 is not a SHA-256" in ftd.log()
        ftd.tokens.unlink()
        assert code() == Code.UNAUTHENTICATED
        ftd.tokens.write_text(first)
        assert code() == Code.OK


def test_no_service_answers_strangers(pki):
    with tls_ftd(pki) as ftd, tls_channel(ftd, pki.ours) as channel:
        with pytest.raises(grpc.RpcError) as caught:
            health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=20)
        assert caught.value.code() == Code.UNAUTHENTICATED
        with pytest.raises(grpc.RpcError) as caught:
            ProtoReflectionDescriptorDatabase(channel).get_services()
        assert caught.value.code() == Code.UNAUTHENTICATED
        with pytest.raises(grpc.RpcError) as caught:
            list(api_grpc.FineTuningStub(channel).WatchJob(api.WatchJobRequest(job="x"), timeout=20))
        assert caught.value.code() == Code.UNAUTHENTICATED


def test_certificates_are_changed_without_a_restart(pki):
    with tls_ftd(pki) as ftd:
        def replace(source, target):
            fresh = target.with_suffix(".new")
            shutil.copy(source, fresh)
            fresh.rename(target)

        def gets_in(authority, pair):
            return outcome(tls_channel(ftd, authority, pair))[0] == Code.OK

        kept = tls_channel(ftd, pki.ours, pki.laptop)
        assert api_grpc.FineTuningStub(kept).GetServerInfo(api.GetServerInfoRequest(), timeout=20)
        assert not gets_in(pki.theirs, pki.laptop)
        replace(pki.server2.certificate, ftd.cert)
        replace(pki.server2.key, ftd.key)
        wait_until(lambda: gets_in(pki.theirs, pki.laptop), "the new certificate", 20)
        assert not gets_in(pki.ours, pki.laptop)
        replace(pki.theirs.certificate, ftd.ca)
        wait_until(lambda: gets_in(pki.theirs, pki.stranger), "the new authority for clients", 20)
        assert not gets_in(pki.theirs, pki.laptop)
        # Who is connected stays so.
        assert api_grpc.FineTuningStub(kept).GetServerInfo(api.GetServerInfoRequest(), timeout=20)
        kept.close()


def test_files_that_do_not_serve(pki, tmp_path):
    good = (pki.server.certificate, pki.server.key, pki.ours.certificate)
    nothing, sealed = tmp_path / "nothing", tmp_path / "sealed"
    subprocess.run(["openssl", "ec", "-in", str(pki.server.key), "-aes256", "-passout", "pass:x", "-out", str(sealed)],
                   check=True, capture_output=True)
    rows = [
        ((nothing, good[1], good[2]), f"{nothing}.*No such file"),
        ((good[1], good[1], good[2]), f"{good[1]} holds no certificate"),
        ((good[0], good[0], good[2]), f"{good[0]} holds no private key"),
        ((good[0], sealed, good[2]), f"{sealed} holds no private key.*passphrase"),
        ((good[0], pki.laptop.key, good[2]), f"{pki.laptop.key} is the key of another certificate"),
        ((good[0], good[1], nothing), f"{nothing}.*No such file"),
    ]
    for (cert, key, ca), says in rows:
        command = [BIN / "ftd", "--state-dir", tmp_path / "state", "--listen", f"unix:{tmp_path}/s", "--metrics-listen",
                   "off", "--tls-cert", cert, "--tls-key", key, "--tls-client-ca", ca]
        ended = subprocess.run(command, capture_output=True, text=True, timeout=60)
        assert ended.returncode == 1 and re.search(says, ended.stderr), ended.stderr


def test_a_reload_with_a_bad_certificate_is_refused_and_ftd_goes_on(pki):
    with tls_ftd(pki) as ftd:
        ftd.key.write_text("no key")
        ftd.signal(signal.SIGHUP)
        wait_until(lambda: "SIGHUP is ignored" in ftd.log(), "the refusal")
        assert f"{ftd.key} holds no private key" in ftd.log()
        assert ftd.job(submit(ftd).id)


def test_plaintext_stays_on_loopback(pki, tmp_path):
    def check(*args):
        command = [BIN / "ftd", "--check-config", "--state-dir", tmp_path, "--listen", "0.0.0.0:7443", *args]
        return subprocess.run(command, capture_output=True, text=True, timeout=60)

    refused = check()
    assert refused.returncode == 78 and "give tls_cert and tls_key" in refused.stderr
    assert check("--tls-cert", pki.server.certificate, "--tls-key", pki.server.key).returncode == 0


# ftctl.

def ftctl(*args, env=None):
    clean = {k: v for k, v in os.environ.items() if not k.startswith("FTCTL_")} | (env or {})
    return subprocess.run([BIN / "ftctl", *map(str, args)], capture_output=True, text=True, timeout=60, env=clean,
                          stdin=subprocess.DEVNULL)


def test_ftctl_gets_in_by_certificate_and_by_token(pki, tmp_path):
    secret = tmp_path / "token"
    secret.write_text(SECRET + "\n")
    with tls_ftd(pki, tokens=token_line("dashboard", SECRET)) as ftd:
        server = ["--address", tcp_address(ftd), "--tls-ca", pki.ours.certificate]
        by_certificate = [*server, "--tls-cert", pki.laptop.certificate, "--tls-key", pki.laptop.key]
        submitted = ftctl(*by_certificate, "submit", "--quiet", "--mode", "lora", "--model", ftd.model,
                          "--dataset", write_rows(tmp_path))
        assert submitted.returncode == 0, submitted.stderr
        job = submitted.stdout.strip()
        watched = ftctl("watch", job, *server, "--token-file", secret)  # flags behind the verb
        assert watched.returncode == 0 and "SUCCEEDED" in watched.stdout, watched.stderr
        env = {"FTCTL_ADDRESS": tcp_address(ftd).replace("127.0.0.1", "localhost"),
               "FTCTL_TLS_CA": str(pki.ours.certificate), "FTCTL_TOKEN_FILE": str(secret)}
        shown = ftctl("show", job, "-o", "json", env=env)
        assert shown.returncode == 0 and json.loads(shown.stdout)["owner"] == "cert:laptop", shown.stderr
        fetched = ftctl("get", job, tmp_path / "result", "--quiet", env=env)
        assert fetched.returncode == 0 and (tmp_path / "result" / "adapter_config.json").exists()


def write_rows(directory):
    path = pathlib.Path(directory) / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    return path


def test_ftctl_says_why_it_does_not_get_in(pki, tmp_path):
    wrong, empty = tmp_path / "wrong", tmp_path / "empty"
    wrong.write_text("not-the-token\n")
    empty.write_text("\n")
    with tls_ftd(pki) as ftd:
        address = ["--address", tcp_address(ftd)]
        server = [*address, "--tls-ca", pki.ours.certificate]
        rows = [
            (server, 77, "not told who calls.*--token-file"),
            ([*server, "--token-file", wrong], 77, "wrong or revoked"),
            ([*server, "--token-file", empty], 65, f"{empty} does not hold one token"),
            ([*server, "--token-file", tmp_path / "none"], 66, "--token-file: .*No such file"),
            ([*address, "--tls-ca", tmp_path / "none"], 66, "--tls-ca: .*No such file"),
            ([*server, "--tls-cert", pki.laptop.certificate], 2, "go together"),
            ([*address, "--token-file", wrong], 2, "give --tls-ca"),
            (["--address", "192.0.2.1:7443"], 2, "give --tls-ca"),
            ([*address, "--tls-ca", pki.theirs.certificate], 69, "--tls-ca must be the authority"),
            ([*server, "--tls-cert", pki.expired.certificate, "--tls-key", pki.expired.key], 69, "expired"),
        ]
        for args, code, says in rows:
            result = ftctl(*args, "ls")
            assert result.returncode == code, (args, result.returncode, result.stderr)
            assert re.search(says, result.stderr) and not result.stdout, result.stderr
            assert "not-the-token" not in result.stderr


# Tokens by ftctl and the API.

def test_a_token_is_made_used_and_revoked(pki, tmp_path):
    by_hand = "# kept as it is\n\n" + token_line("by hand", SECRET).rstrip("\n")  # no line break at the end
    secret_file = tmp_path / "dashboard.token"
    with tls_ftd(pki, certificates=False, tokens=by_hand) as ftd:
        made = ftd.ftctl("token", "create", "dashboard", "--file", secret_file)
        secret = secret_file.read_text().strip()
        assert made.stdout == "" and secret not in made.stderr and secret_file.stat().st_mode & 0o777 == 0o600
        assert len(base64.urlsafe_b64decode(secret.removeprefix("ftd_") + "=")) == 32
        assert ftd.tokens.read_text() == by_hand + "\n" + token_line("dashboard", secret)
        printed = ftd.ftctl("token", "create", "laptop@home").stdout.strip()
        assert printed != secret
        assert ftd.ftctl("token").stdout.splitlines() == ["by hand", "dashboard", "laptop@home"]
        assert json.loads(ftd.ftctl("token", "ls", "-o", "json").stdout) == ["by hand", "dashboard", "laptop@home"]
        with tls_channel(ftd, pki.ours, None, bearer(secret)) as channel:
            stub = api_grpc.FineTuningStub(channel)
            job = stub.SubmitJob(api.SubmitJobRequest(spec=ftd.spec(ftd.model, ROWS)))
            assert job.owner == "token:dashboard" and list(stub.WatchJob(api.WatchJobRequest(job=job.id), timeout=60))
            ftd.ftctl("token", "revoke", "dashboard")
            with pytest.raises(grpc.RpcError) as caught:
                stub.GetServerInfo(api.GetServerInfoRequest(), timeout=20)
            assert caught.value.code() == Code.UNAUTHENTICATED
        assert outcome(tls_channel(ftd, pki.ours, None, bearer(printed)))[0] == Code.OK
        assert ftd.tokens.read_text() == by_hand + "\n" + token_line("laptop@home", printed)
        assert places_with([secret, printed], ftd.root, [ftd.process.pid]) == []
        assert secret not in ftd.log() and "access token dashboard is revoked, by" in ftd.log()


def test_tokens_are_managed_on_the_machine_alone(pki):
    calls = [("CreateToken", api.CreateTokenRequest(name="more")), ("ListTokens", api.ListTokensRequest()),
             ("RevokeToken", api.RevokeTokenRequest(name="dashboard"))]
    line = token_line("dashboard", SECRET)
    with tls_ftd(pki, tokens=line) as ftd:
        for channel in (tls_channel(ftd, pki.ours, None, bearer(SECRET)), tls_channel(ftd, pki.ours, pki.laptop)):
            with channel:
                for method, request in calls:
                    call = getattr(api_grpc.FineTuningStub(channel), method)
                    expect_error(lambda: call(request, timeout=20), Code.PERMISSION_DENIED, "NOT_OWNER")
        assert ftd.tokens.read_text() == line
    with fake_ftd(start=False) as ftd:  # plaintext on loopback, which anybody on the machine may reach
        ftd.args += ["--listen", "127.0.0.1:0"]
        ftd.start()
        with grpc.insecure_channel(tcp_address(ftd)) as channel:
            call = api_grpc.FineTuningStub(channel).CreateToken
            expect_error(lambda: call(calls[0][1], timeout=20), Code.PERMISSION_DENIED, "NOT_OWNER")
        refused = ftctl("--address", tcp_address(ftd), "token", "create", "more")
        assert refused.returncode == 77 and "on ftd's machine" in refused.stderr and not refused.stdout


def test_tokens_that_cannot_be_made(pki, tmp_path):
    line = token_line("dashboard", SECRET)
    taken = tmp_path / "taken"
    taken.write_text("kept")
    with tls_ftd(pki, tokens=line) as ftd:
        for name in ("", ".x", "-x", "a b", "a\nb", "a/b", "\u00e4", "x" * 64):
            expect_error(lambda: ftd.stub.CreateToken(api.CreateTokenRequest(name=name)), Code.INVALID_ARGUMENT, "FIELD_INVALID")
        expect_error(lambda: ftd.stub.CreateToken(api.CreateTokenRequest(name="dashboard")), Code.ALREADY_EXISTS, "NAME_IN_USE")
        expect_error(lambda: ftd.stub.RevokeToken(api.RevokeTokenRequest(name="nobody")), Code.NOT_FOUND, "TOKEN_NOT_FOUND")
        rows = [
            (["create", "dashboard", "--file", tmp_path / "new"], 1, "revoke it first"),
            (["create", "x y"], 65, "letters, digits"),
            (["create", "laptop", "--file", taken], 73, "File exists"),
            (["create", "laptop", "--file", tmp_path / "no" / "where"], 73, "No such file"),
            (["revoke", "nobody"], 66, "ftctl token ls"),
            (["crate", "x"], 2, "did you mean create"),
            (["create"], 2, "NAME"),
        ]
        for args, code, says in rows:
            result = ftd.ftctl("token", *args, check=False)
            assert result.returncode == code and says in result.stderr and not result.stdout, (args, result)
        assert not (tmp_path / "new").exists() and taken.read_text() == "kept" and ftd.tokens.read_text() == line
        ftd.tokens.write_text("rubbish\n")
        for call in (lambda: ftd.stub.CreateToken(api.CreateTokenRequest(name="a")), lambda: ftd.stub.ListTokens(api.ListTokensRequest()),
                     lambda: ftd.stub.RevokeToken(api.RevokeTokenRequest(name="a"))):
            error = expect_error(call, Code.FAILED_PRECONDITION, "CONFIG_INVALID")
            assert f"{ftd.tokens}: line 1" in error.details()
        assert ftd.tokens.read_text() == "rubbish\n"


def test_a_token_file_that_ftd_may_not_write(pki, tmp_path):
    with fake_ftd(start=False) as ftd:
        ftd.args += ["--token-file", tmp_path / "missing" / "tokens"]
        ftd.start()
        error = expect_error(lambda: ftd.stub.CreateToken(api.CreateTokenRequest(name="a")), Code.FAILED_PRECONDITION,
                             "PATH_NOT_WRITABLE")
        assert str(tmp_path / "missing") in error.details()
        assert ftd.ftctl("token", "create", "a", check=False).returncode == 73


def test_a_token_file_behind_a_link_stays_there(pki, tmp_path):
    real = tmp_path / "real"
    real.write_text("")
    (tmp_path / "link").symlink_to(real)
    with fake_ftd(start=False) as ftd:
        ftd.args += ["--token-file", tmp_path / "link"]
        ftd.start()
        secret = ftd.ftctl("token", "create", "a").stdout.strip()
        assert (tmp_path / "link").is_symlink() and real.read_text() == token_line("a", secret)


def test_tokens_made_at_once_are_all_kept(pki):
    with fake_ftd() as ftd, futures.ThreadPoolExecutor(16) as pool:
        names = [f"t{i}" for i in range(64)]
        secrets = list(pool.map(lambda name: ftd.stub.CreateToken(api.CreateTokenRequest(name=name)).token, names))
        assert len(set(secrets)) == 64 and sorted(ftd.stub.ListTokens(api.ListTokensRequest()).names) == sorted(names)
        lines = (ftd.state_dir / "access-tokens").read_text().splitlines(keepends=True)
        assert sorted(lines) == sorted(map(token_line, names, secrets))


def places_with(secrets, directory, pids):
    """Where the secrets are seen: files under a directory, and what all may read of processes."""

    def look():
        files = [p for p in pathlib.Path(directory).rglob("*") if p.is_file()]
        files += [pathlib.Path(f"/proc/{pid}/{name}") for pid in pids for name in ("cmdline", "comm", "status")]
        try:
            return [[(str(p), s) for p in files for s in secrets if s.encode() in p.read_bytes()]]
        except FileNotFoundError:  # renamed meanwhile: its new name was not listed
            return None

    return wait_until(look, "files that stay where they are")[0]


def all_answers(ftd, job):
    """What every method that reads says of a job, and /metrics, as bytes."""
    stub = ftd.stub
    metrics = json.loads((ftd.state_dir / "addresses.json").read_text())["metrics"]
    with urllib.request.urlopen(f"http://{metrics}/metrics", timeout=30) as page:
        answers = [page.read()]
    answers += [answer.SerializeToString() for answer in (
        stub.GetJob(api.GetJobRequest(job=job)), stub.ListJobs(api.ListJobsRequest()),
        stub.ListCheckpoints(api.ListCheckpointsRequest(job=job)), stub.ListModels(api.ListModelsRequest()),
        stub.ListTokens(api.ListTokensRequest()), stub.GetServerInfo(api.GetServerInfoRequest()),
        next(stub.WatchQueue(api.WatchQueueRequest(), timeout=30)))]
    for call, request in ((stub.WatchJob, api.WatchJobRequest), (stub.TailLog, api.TailLogRequest),
                          (stub.QueryMetrics, api.QueryMetricsRequest), (stub.DownloadResult, api.DownloadResultRequest)):
        answers += [message.SerializeToString() for message in call(request(job=job), timeout=30)]
    for args in (["show", job], ["show", job, "-o", "json"], ["logs", job], ["doctor"], ["info"]):
        done = ftd.ftctl(*args, check=False)
        answers.append((done.stdout + done.stderr).encode())
    return b"\n".join(answers)


def test_secrets_are_nowhere(pki, tmp_path):
    """Not in files, logs, metrics, answers or command lines: right and wrong tokens, the hub's, keys, notify_url's password."""
    hub_token, wrong, password = "hf_planted0123456789", "tok-wrong-but-secret", "planted-password"
    body = "".join(pki.server.key.read_text().splitlines()[1:-1])[:40]
    secrets = [SECRET, wrong, hub_token, body, password]
    for name, text in (("right", SECRET), ("wrong", wrong)):
        (tmp_path / name).write_text(text)
    script = "steps=100000 step_ms=5"
    env = {"HF_TOKEN": hub_token, "FTD_NOTIFY_URL": f"http://user:{password}@127.0.0.1:1/?key={password}"}
    with tls_ftd(pki, script, tokens=token_line("dashboard", SECRET), env=env, args=["--metrics-listen", "127.0.0.1:0"]) as ftd:
        server = ["--address", tcp_address(ftd), "--tls-ca", pki.ours.certificate]
        assert ftctl(*server, "--token-file", tmp_path / "wrong", "ls").returncode == 77
        assert outcome(tls_channel(ftd, pki.ours, None, bearer(wrong)))[0] == Code.UNAUTHENTICATED
        ftd.tokens.write_text(f"{wrong}  not a digest\n")  # somebody pasted the token itself
        assert outcome(tls_channel(ftd, pki.ours, None, bearer(wrong)))[0] == Code.UNAUTHENTICATED
        assert "line 1 is not a SHA-256" in ftd.log()
        ftd.tokens.write_text(token_line("dashboard", SECRET))
        with tls_channel(ftd, pki.ours, None, bearer(SECRET)) as channel:
            job = api_grpc.FineTuningStub(channel).SubmitJob(api.SubmitJobRequest(spec=ftd.spec(ftd.model, ROWS)))
        watch = subprocess.Popen([BIN / "ftctl", *map(str, server), "--token-file", tmp_path / "right", "watch", job.id],
                                 stdout=subprocess.PIPE, text=True)
        try:
            for line in watch.stdout:
                if line.startswith("step"):
                    break
            assert places_with(secrets, ftd.state_dir, [ftd.worker_pid(job.id)]) == []
            ftd.stub.CancelJob(api.CancelJobRequest(job=job.id, keep=True))
            ftd.wait(job.id, "SUCCEEDED")
            wait_until(lambda: "; next try in" in ftd.log(), "a notification that fails")
            answers = ftd.root / "answers"
            answers.write_bytes(all_answers(ftd, job.id))
            assert job.id.encode() in answers.read_bytes() and b"ftd_jobs_submitted_total" in answers.read_bytes()
            ftd.key.unlink()  # the operator's copy, which is no place of ftd's
            pids = [ftd.process.pid, watch.pid]
            assert places_with(secrets, ftd.root, pids) == []
            (ftd.root / "leak").write_text(f"x{SECRET}y")  # the search finds what is there
            assert places_with(secrets, ftd.root, pids) == [(str(ftd.root / "leak"), SECRET)]
        finally:
            watch.kill()
            watch.communicate()
