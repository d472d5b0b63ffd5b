"""Stores that real processes can share: a folder, and a real bucket where ISTHMUS_TEST_S3_URL names one.

`make s3-test` gets and starts a real S3 server, and sets the variable.
"""

import os
import uuid

import pytest

S3_URL = os.environ.get("ISTHMUS_TEST_S3_URL", "")
"""s3://bucket?endpoint=http://...; the standard AWS variables hold the credentials."""


def bucket_of_its_own() -> str:
    """The URL of the real bucket under a prefix that nobody else uses; skips the test where there is no bucket."""
    if not S3_URL:
        pytest.skip("no S3 server is named in ISTHMUS_TEST_S3_URL; `make s3-test` starts one")
    where, _, options = S3_URL.partition("?")
    return f"{where.rstrip('/')}/{uuid.uuid4().hex}?{options}"
