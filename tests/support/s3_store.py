"""An S3 server on loopback, moto's, with a bucket; it can be told to deny everything."""

from __future__ import annotations

import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest

SECRET = "hunter2"


@dataclass(frozen=True)
class S3Store:
    """bucket: its URL. endpoint: of the server."""

    bucket: str
    endpoint: str

    @contextmanager
    def denying(self) -> Iterator[None]:
        """Meanwhile the server asks for rights, which nobody has."""
        self._count_before_rights("0")
        try:
            yield
        finally:
            self._count_before_rights("inf")

    def _count_before_rights(self, n_requests: str) -> None:
        kind = {"Content-Type": "text/plain"}  # of a form the server reads nothing
        request = urllib.request.Request(f"{self.endpoint}/moto-api/reset-auth", n_requests.encode(), kind)
        urllib.request.urlopen(request).close()


@contextmanager
def s3_store() -> Iterator[S3Store]:
    """A server with the empty bucket ``archive``, which the environment's settings lead to."""
    moto = pytest.importorskip("moto.server", reason="moto[server] is not installed")
    s3fs = pytest.importorskip("s3fs", reason="s3fs is not installed")
    import boto3

    server = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {
            "AWS_ACCESS_KEY_ID": "key",
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        }.items():
            patch.setenv(name, value)
        s3fs.S3FileSystem.clear_instance_cache()  # clients of an earlier server ask that one
        reset = urllib.request.Request(f"http://{host}:{port}/moto-api/reset", method="POST")
        urllib.request.urlopen(reset).close()  # servers of one process share what is in their buckets
        boto3.client("s3").create_bucket(Bucket="archive")
        yield S3Store("s3://archive", f"http://{host}:{port}")
    server.stop()
