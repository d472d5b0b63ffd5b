"""A global projector on its way out: ranges of its blob as chunks. Knows no caller."""

from collections.abc import Iterator

from aggregator.ledger import Ledger
from isthmus.chunks import SEGMENT_BYTES, spans, views
from isthmus.errors import OffsetOutOfRange, ProjectorUnknown
from isthmus.manifest import ProjectorManifest


def manifest_of(ledger: Ledger, federation: str, *, digest: bytes) -> ProjectorManifest:
    """The manifest of the projector with this digest, the newest first.

    Raises:
        ProjectorUnknown: No published projector has it.
    """
    for number in range(ledger.latest_number(federation), -1, -1):
        manifest = ledger.manifest(federation, number)
        if manifest.digest == digest:
            return manifest
    raise ProjectorUnknown(
        f"No global projector of {federation} has the digest {digest.hex()[:64] or '(empty)'}. Ask GetRound again."
    )


def require_offset(manifest: ProjectorManifest, offset_bytes: int) -> None:
    """Checks that an offset lies within a projector; its very end does, and gives no bytes.

    Raises:
        OffsetOutOfRange: It lies beyond.
    """
    if offset_bytes > manifest.size_bytes:
        raise OffsetOutOfRange(
            f"Offset {offset_bytes} lies beyond the end of projector {manifest.number}, which has "
            f"{manifest.size_bytes} bytes.",
            sizeBytes=manifest.size_bytes,
        )


def chunks_of(
    ledger: Ledger, federation: str, manifest: ProjectorManifest, *, offset_bytes: int
) -> Iterator[tuple[int, memoryview]]:
    """Every (offset, bytes) from the offset to the end; one read of 4 MiB in memory."""
    for start, size in spans(offset_bytes, manifest.size_bytes, step=SEGMENT_BYTES):
        data = ledger.read_blob(federation, manifest.digest, start=start, size=size)
        for offset, chunk in views(data):
            yield start + offset, chunk
