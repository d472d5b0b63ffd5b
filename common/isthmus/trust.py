"""Which certificate authorities this system trusts, as PEM: gRPC by itself would ask the list that it brings along."""

import ssl
from pathlib import Path

from isthmus.errors import ConfigInvalid


def system_authorities() -> str:
    """PEM of the certificates in OpenSSL's file or folder on this machine (SSL_CERT_FILE, SSL_CERT_DIR).

    Raises:
        ConfigInvalid: There are none.
    """
    paths = ssl.get_default_verify_paths()
    hashed = sorted(Path(paths.capath).glob("*.[0-9]")) if paths.capath else []
    pem = "".join(map(_readable, [Path(paths.cafile)] if paths.cafile else hashed))
    if "BEGIN CERTIFICATE" not in pem:
        raise ConfigInvalid(
            "This system has no certificate authorities to trust. Install its package ca-certificates, or name a PEM "
            "file of them in the environment as SSL_CERT_FILE."
        )
    return pem


def _readable(file: Path) -> str:
    """The file's text; "" when it cannot be read: then nobody is trusted for it."""
    try:
        return file.read_text(encoding="ascii", errors="ignore") + "\n"
    except OSError:
        return ""
