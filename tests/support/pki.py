"""Certificates for tests, made with the openssl program."""
import dataclasses
import pathlib
import subprocess


@dataclasses.dataclass(frozen=True)
class Pair:
    certificate: pathlib.Path
    key: pathlib.Path


def openssl(*args) -> None:
    subprocess.run(["openssl", *map(str, args)], check=True, capture_output=True)


class Authority:
    """Issues certificates for loopback."""

    def __init__(self, directory, name: str):
        self.directory = pathlib.Path(directory) / name
        self.directory.mkdir(parents=True)
        self.certificate, self.key = self.directory / "ca.crt", self.directory / "ca.key"
        openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", 2,
                "-subj", f"/CN={name}", "-keyout", self.key, "-out", self.certificate)

    def issue(self, file: str, *, subject: str | None = None, days: int = 2) -> Pair:
        """`days` below 0: expired so long ago."""
        pair = Pair(self.directory / f"{file}.crt", self.directory / f"{file}.key")
        request, names = self.directory / f"{file}.csr", self.directory / f"{file}.ext"
        names.write_text("subjectAltName=IP:127.0.0.1,DNS:localhost\n")
        openssl("req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                "-subj", subject or f"/CN={file}", "-keyout", pair.key, "-out", request)
        openssl("x509", "-req", "-in", request, "-CA", self.certificate, "-CAkey", self.key, "-CAcreateserial",
                "-days", days, "-extfile", names, "-out", pair.certificate)
        return pair
