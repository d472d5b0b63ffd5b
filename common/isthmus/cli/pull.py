"""The verb that brings a global projector to a file: whole and checked, or not at all."""

import os
import tempfile
from argparse import Namespace
from pathlib import Path
from typing import IO

from isthmus.cli.client import connect, federation_of
from isthmus.cli.text import Answer, cell, size
from isthmus.errors import ConfigInvalid
from isthmus.manifest import ProjectorManifest
from isthmus.operator_client import OperatorClient
from isthmus.payload import MAX_HEADER_BYTES, PREFIX_BYTES
from isthmus.payload_header import read_spec


def pull(arguments: Namespace) -> Answer:
    """Writes a global projector as safetensors that the VLM's projector module loads as it is."""
    out: Path = arguments.out
    if out.is_dir():
        raise ConfigInvalid(f"{out} is a folder. Name a file: --out {out / 'projector.safetensors'}")
    with connect(arguments) as client:
        name = federation_of(client, arguments)
        number = client.lineage(name)[-1].number if arguments.number is None else arguments.number
        manifest = export_to(out, client, federation=name, number=number)
    data = {"federation": name, "number": number, "digest": manifest.digest, "size_bytes": manifest.size_bytes}
    return Answer(
        {**data, "out": str(out)},
        f"Projector {number} of {name} is in {out}: {size(manifest.size_bytes)}, sha256 {cell(manifest.digest)}.",
    )


def export_to(out: Path, client: OperatorClient, *, federation: str, number: int) -> ProjectorManifest:
    """Exports a projector to `out`, which afterwards holds all of it or what it held before.

    Raises:
        ConfigInvalid: The file cannot be written.
        IsthmusError: As `OperatorClient.export`; PayloadMalformed or SpecMismatch when it is no projector.
    """
    try:
        # In the same folder, so that taking its place is one step for every reader.
        with tempfile.NamedTemporaryFile(dir=out.parent, prefix=f".{out.name}.", suffix=".part", delete=False) as file:
            try:
                manifest = client.export(federation, number, sink=IntoFile(file))
                _seal(file, size_bytes=manifest.size_bytes)
                os.replace(file.name, out)
            except BaseException:
                Path(file.name).unlink(missing_ok=True)
                raise
        return manifest
    except OSError as error:
        raise ConfigInvalid(f"{out} cannot be written: {error.strerror}. Nothing was changed.") from error


class IntoFile:
    """A sink that appends to an open file."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def begin(self, manifest: ProjectorManifest) -> None:
        """Takes any projector: the user named it by number."""

    def write(self, offset: int, data: bytes | memoryview) -> None:
        """Writes the next bytes."""
        self._file.write(data)


def _seal(file: IO[bytes], *, size_bytes: int) -> None:
    """Checks that the file is a projector, and makes it durable and readable."""
    file.seek(0)
    read_spec(file.read(MAX_HEADER_BYTES + PREFIX_BYTES), payload_size_bytes=size_bytes)
    file.flush()
    os.fsync(file.fileno())
    os.fchmod(file.fileno(), 0o644)
