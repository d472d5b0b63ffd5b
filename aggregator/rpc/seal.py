"""The aggregator's signature under what it says: receipts and manifests, as they leave. Nothing of it is stored.

Ed25519 is deterministic, so every replica with the same key signs the same statement with the same bytes.
"""

from dataclasses import replace

from isthmus.contribution import Receipt
from isthmus.manifest import ProjectorManifest
from isthmus.signatures import manifest_statement, receipt_statement, signer
from isthmus.v1 import projector_pb2
from isthmus.wire import manifest_to_proto, receipt_to_proto


class Seal:
    """Signs with this Ed25519 private key (32 bytes)."""

    def __init__(self, private_key: bytes) -> None:
        self._sign = signer(private_key)

    def receipt(self, receipt: Receipt) -> projector_pb2.Receipt:
        """The receipt, signed."""
        return receipt_to_proto(replace(receipt, signature=self._sign(receipt_statement(receipt))))

    def manifest(self, manifest: ProjectorManifest, *, federation: str) -> projector_pb2.ProjectorManifest:
        """The manifest of one of the federation's projectors, signed."""
        statement = manifest_statement(manifest, federation=federation)
        return manifest_to_proto(replace(manifest, signature=self._sign(statement)))
