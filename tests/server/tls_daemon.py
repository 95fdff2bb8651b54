"""A daemon that listens with TLS, and channels to it."""

import json
import shutil

import grpc

from helpers import fake_ftd


def tls_ftd(pki, script="", *, certificates=True, tokens="", **kwargs):
    """A daemon on a free port of loopback; its files lie in ftd.root, so that a test can change them."""
    ftd = fake_ftd(script, start=False, **kwargs)
    ftd.cert, ftd.key, ftd.ca, ftd.tokens = (ftd.root / n for n in ("tls.crt", "tls.key", "ca.crt", "tokens"))
    shutil.copy(pki.server.certificate, ftd.cert)
    shutil.copy(pki.server.key, ftd.key)
    shutil.copy(pki.ours.certificate, ftd.ca)
    ftd.tokens.write_text(tokens)
    ftd.args += ["--listen", "127.0.0.1:0", "--tls-cert", ftd.cert, "--tls-key", ftd.key, "--token-file", ftd.tokens]
    if certificates:
        ftd.args += ["--tls-client-ca", ftd.ca]
    try:
        return ftd.start()
    except BaseException:
        ftd.close()
        raise


def tcp_address(ftd):
    listen = json.loads((ftd.state_dir / "addresses.json").read_text())["listen"]
    return next(address for address in listen if not address.startswith("unix:"))


def tls_channel(ftd, authority, pair=None, metadata=()):
    """A channel of grpcio; `pair` is the client's certificate, `metadata` goes with every call."""
    credentials = grpc.ssl_channel_credentials(
        authority.certificate.read_bytes(), *((pair.key.read_bytes(), pair.certificate.read_bytes()) if pair else ()))

    class Plugin(grpc.AuthMetadataPlugin):
        def __call__(self, context, callback):
            callback(metadata, None)

    if metadata:
        credentials = grpc.composite_channel_credentials(credentials, grpc.metadata_call_credentials(Plugin()))
    return grpc.secure_channel(tcp_address(ftd), credentials, options=[("grpc.use_local_subchannel_pool", 1)])
