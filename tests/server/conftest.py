"""Certificates, made once for a file of tests."""

import types

import pytest

from pki import Authority


@pytest.fixture(scope="module")
def pki(tmp_path_factory):
    root = tmp_path_factory.mktemp("pki")
    ours, theirs = Authority(root, "ours"), Authority(root, "theirs")
    return types.SimpleNamespace(
        ours=ours, theirs=theirs, server=ours.issue("server"), server2=theirs.issue("server2"),
        laptop=ours.issue("laptop"), nameless=ours.issue("nameless", subject="/O=nobody"),
        expired=ours.issue("expired", days=-1), stranger=theirs.issue("stranger"))
