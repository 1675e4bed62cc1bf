"""A store of objects on 127.0.0.1, with credentials that nobody may find again."""

import contextlib
import logging
from collections.abc import Iterator
from unittest import mock

SECRETS = ("AKIAPLANTEDKEY", "planted/secret")
BUCKET = "scans"


@contextlib.contextmanager
def serving() -> Iterator[str]:
    """Serve an empty bucket; the address of the server, which the environment points to as well."""
    import requests
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    address = f"http://{host}:{port}"
    names = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_ENDPOINT_URL", "AWS_DEFAULT_REGION")
    try:
        with mock.patch.dict("os.environ", dict(zip(names, (*SECRETS, address, "us-east-1"), strict=True))):
            forget()
            requests.post(f"{address}/moto-api/reset", timeout=30)  # servers of a process share their objects
            client().create_bucket(Bucket=BUCKET)
            yield address
    finally:
        server.stop()
        forget()


def forget() -> None:
    """The next store that is opened reads the environment again."""
    import s3fs

    s3fs.S3FileSystem.clear_instance_cache()


def client():
    """Boto's own, so that what is put there does not come from what reads it."""
    import boto3

    return boto3.client("s3")


def put(name: str, content: bytes) -> None:
    client().put_object(Bucket=BUCKET, Key=name, Body=content)
