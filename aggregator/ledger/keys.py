"""Every key of the store, in one place; docs/architecture.md prints the same list. Knows no store and no document."""

from aggregator.ledger.documents import Upload

DROPPED = "dropped-"
"""How the marker of an attempt whose bytes were wrong begins."""

RELEASED = "released"
"""The name of the marker that opens an epoch of a silo: no payload's, since those are 64 hex digits."""


def catalog(federation: str = "") -> str:
    """Names one federation that may exist, or all of them: lists federations without listing their blobs."""
    return f"catalog/{federation}" if federation else "catalog"


def federation_prefix(federation: str) -> str:
    """Prefix of all that belongs to a federation, but for its place in the catalog."""
    return f"federations/{federation}"


def federation_file(federation: str) -> str:
    """The federation, created once."""
    return f"federations/{federation}/federation.json"


def state(federation: str) -> str:
    """Running or paused, overwritten by the operator."""
    return f"federations/{federation}/state.json"


def finished(federation: str) -> str:
    """There once the operator finished the federation: final, so it is created and never overwritten."""
    return f"federations/{federation}/finished.json"


def silos(federation: str) -> str:
    """Prefix of all enrolments."""
    return f"federations/{federation}/silos"


def silo(federation: str, name: str) -> str:
    """One enrolment, overwritten by the operator."""
    return f"{silos(federation)}/{name}.json"


def revocations(federation: str) -> str:
    """Prefix of all revocations."""
    return f"federations/{federation}/revoked"


def revocation(federation: str, name: str) -> str:
    """There while a silo is barred; apart from the enrolment, so that two listings tell who is active."""
    return f"{revocations(federation)}/{name}"


def invitations(federation: str) -> str:
    """Prefix of all invitations that were ever given."""
    return f"federations/{federation}/invitations"


def invitation(federation: str, invitation_sha256: str) -> str:
    """Which silo an invitation is for; the silo's own document tells whether it still stands."""
    return f"{invitations(federation)}/{invitation_sha256}"


def redemptions(federation: str) -> str:
    """Prefix of the markers of all invitations that were used."""
    return f"federations/{federation}/redeemed"


def redemption(federation: str, invitation_sha256: str) -> str:
    """With which keys an invitation was used, created once: nobody uses it with others."""
    return f"{redemptions(federation)}/{invitation_sha256}.json"


def credentials(federation: str) -> str:
    """Prefix of all credentials that were ever enrolled."""
    return f"federations/{federation}/credentials"


def credential(federation: str, credential: str) -> str:
    """Whose a credential is and what signs with it, created once; the silo's document tells whether it still stands."""
    return f"{credentials(federation)}/{credential}.json"


def strikes(federation: str) -> str:
    """Prefix of the hostile payloads of all silos, and of their releases."""
    return f"federations/{federation}/strikes"


def strikes_of(federation: str, name: str) -> str:
    """Prefix of the hostile payloads of one silo, and of its releases."""
    return f"{strikes(federation)}/{name}"


def strike(federation: str, name: str, *, epoch: int, payload_name: str) -> str:
    """One hostile payload, created once; the silo's epoch is how often it was released before."""
    return f"{strikes_of(federation, name)}/{epoch}/{payload_name}"


def released(federation: str, name: str, *, epoch: int) -> str:
    """There once the operator opened that epoch of a silo, created once."""
    return f"{strikes_of(federation, name)}/{epoch}/{RELEASED}"


def payload_claims(federation: str) -> str:
    """Prefix of who brought which payload."""
    return f"federations/{federation}/payloads"


def payload_claim(federation: str, digest: bytes, number: int) -> str:
    """Which silo and round a payload is claimed for, created once; the next one counts where this one is void."""
    return f"{payload_claims(federation)}/{digest.hex()}/{number}"


def all_uploads(federation: str) -> str:
    """Prefix of everything staged."""
    return f"federations/{federation}/uploads"


def uploads(federation: str, round_number: int) -> str:
    """Prefix of everything staged for a round."""
    return f"{all_uploads(federation)}/{round_number}"


def uploads_of(federation: str, round_number: int, silo_name: str) -> str:
    """Prefix of everything that one silo staged for a round."""
    return f"{uploads(federation, round_number)}/{silo_name}"


def push(upload: Upload) -> str:
    """Prefix of everything staged for one push."""
    return f"{uploads_of(upload.federation, upload.round, upload.silo)}/{upload.push_id}"


def staged(upload: Upload, attempt: int) -> str:
    """Prefix of the segments of one attempt at a push; an attempt whose bytes were wrong is followed by the next."""
    return f"{push(upload)}/{attempt}"


def segment(upload: Upload, attempt: int, *, offset_bytes: int, digest: bytes) -> str:
    """One run of staged bytes, by the digest of its payload from the start to the run's end (docs/adr/0040).

    The offset is padded, so that keys sort as offsets do.
    """
    return f"{staged(upload, attempt)}/{offset_bytes:016d}-{digest.hex()}"


def named_by(segment_key: str) -> tuple[int, str]:
    """What a segment's key says: its offset in bytes, and the digest in hex."""
    offset, _, digest = segment_key.rpartition("/")[2].partition("-")
    return int(offset), digest


def dropped(upload: Upload, attempt: int) -> str:
    """There once an attempt's bytes were found wrong."""
    return f"{push(upload)}/{DROPPED}{attempt}"


def rounds(federation: str) -> str:
    """Prefix of the documents of all rounds."""
    return f"federations/{federation}/rounds"


def round_prefix(federation: str, round_number: int) -> str:
    """Prefix of a round's documents."""
    return f"{rounds(federation)}/{round_number}"


def contributions(federation: str, round_number: int) -> str:
    """Prefix of a round's contributions."""
    return f"{round_prefix(federation, round_number)}/contributions"


def contribution(federation: str, round_number: int, silo_name: str) -> str:
    """One silo's contribution to a round, created once."""
    return f"{contributions(federation, round_number)}/{silo_name}.json"


def closing(federation: str, round_number: int) -> str:
    """The marker that a round is about to be cut, created once."""
    return f"{round_prefix(federation, round_number)}/closing.json"


def roster(federation: str, round_number: int) -> str:
    """What a round aggregates, created once."""
    return f"{round_prefix(federation, round_number)}/roster.json"


def key_offers(federation: str, round_number: int) -> str:
    """Prefix of the keys that silos offered for a round's sum."""
    return f"{round_prefix(federation, round_number)}/offers"


def key_offer(federation: str, round_number: int, silo_name: str) -> str:
    """One silo's key for a round's sum, created once."""
    return f"{key_offers(federation, round_number)}/{silo_name}.json"


def key_roster(federation: str, round_number: int) -> str:
    """Whose deltas a round's sum is of, created once."""
    return f"{round_prefix(federation, round_number)}/keys.json"


def opening(federation: str, round_number: int) -> str:
    """Whether a round's sum is opened, created once: yes with every vector there, or never."""
    return f"{round_prefix(federation, round_number)}/opening.json"


def seeds(federation: str, round_number: int) -> str:
    """Prefix of the seeds that open a round's sum."""
    return f"{round_prefix(federation, round_number)}/seeds"


def seed(federation: str, round_number: int, silo_name: str) -> str:
    """One silo's seed, created once."""
    return f"{seeds(federation, round_number)}/{silo_name}.json"


def removal(federation: str, round_number: int) -> str:
    """There once the deltas of a round that is over were removed, created once and before they go."""
    return f"{round_prefix(federation, round_number)}/removed.json"


def projectors(federation: str) -> str:
    """Prefix of all manifests."""
    return f"federations/{federation}/projectors"


def projector(federation: str, number: int) -> str:
    """The manifest of a global projector, created once."""
    return f"{projectors(federation)}/{number}.json"


def blobs(federation: str) -> str:
    """Prefix of all tensors."""
    return f"federations/{federation}/blobs"


def blob(federation: str, digest: bytes) -> str:
    """Tensors, named by the SHA-256 of their bytes."""
    return f"{blobs(federation)}/{digest.hex()}"


def audits(federation: str, round_number: int) -> str:
    """Prefix of what happened to all pushes to a round."""
    return f"federations/{federation}/audit/{round_number}"


def audit(federation: str, round_number: int, silo_name: str) -> str:
    """Prefix of what happened to one silo's pushes to a round."""
    return f"{audits(federation, round_number)}/{silo_name}"


def refusal(federation: str, round_number: int, silo_name: str, *, sequence: int) -> str:
    """One push of a silo that was refused; each names the one before by its digest."""
    return f"{audit(federation, round_number, silo_name)}/{sequence:03d}.json"


def admission(federation: str, round_number: int, silo_name: str) -> str:
    """The push of a silo that was admitted; follows from the contribution."""
    return f"{audit(federation, round_number, silo_name)}/admitted.json"


def acts(federation: str) -> str:
    """Prefix of what operators and enrolling sites asked for."""
    return f"federations/{federation}/audit/acts"


def act(federation: str, sequence: int) -> str:
    """One act; each names the one before by its digest. Padded, so that keys sort as the chain does."""
    return f"{acts(federation)}/{sequence:08d}.json"


def round_records(federation: str) -> str:
    """Prefix of the records of all rounds that are over."""
    return f"federations/{federation}/audit/rounds"


def round_record(federation: str, round_number: int) -> str:
    """What is on record of a round that is over, created once; each names the one before by its digest."""
    return f"{round_records(federation)}/{round_number}.json"
