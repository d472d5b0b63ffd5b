"""The ledger: what is stored under which key, over any store. Decides nothing but what put_if_absent decides.

Every document is immutable once it is there, except enrolments and the running or paused state, which only the operator
overwrites. So what is remembered here (federations, manifests, the newest number seen) is never wrong, only absent.
"""

from collections.abc import Sequence
from datetime import datetime

from aggregator.blocks import Reader
from aggregator.ledger import acts, audit, blobs, enrolment, federations, keys, once, removal, staging
from aggregator.ledger.acts import Act
from aggregator.ledger.chain import Place
from aggregator.ledger.documents import (
    Closing,
    Contribution,
    Roster,
    Segment,
    Upload,
    manifest_from_json,
    manifest_to_json,
)
from aggregator.ledger.enrolment import Enrolled
from aggregator.ledger.records import FederationRecord, SiloRecord
from aggregator.ledger.remembered import last_true, remember
from aggregator.ledger.segments import read_range
from aggregator.stores import Content, Store, exists
from isthmus.errors import (
    ContributionConflict,
    FederationUnknown,
    InvariantBroken,
    IsthmusError,
    ProjectorUnknown,
)
from isthmus.federation import Federation, FederationState
from isthmus.foreign import shown
from isthmus.manifest import ProjectorManifest
from isthmus.spec import ProjectorSpec


class Ledger:
    """All that an aggregator knows, read from its store at every call. Safe to use from many threads.

    Every method raises StoreUnavailable when the store cannot be reached; repeating the call is safe.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._records: dict[str, FederationRecord] = {}
        self._manifests: dict[tuple[str, int], ProjectorManifest] = {}
        self._latest: dict[str, int] = {}
        self._behind_acts: dict[str, Place] = {}

    @property
    def store(self) -> Store:
        """The store itself, for what works on keys whatever they hold: housekeeping, and moving a federation."""
        return self._store

    def create_federation(
        self, toml: str, federation: Federation, spec: ProjectorSpec, *, projector: Content, now: datetime
    ) -> bool:
        """Creates a federation with projector 0; False when it exists with the same content. See `federations.create`.

        Raises:
            FederationExists: One of that name exists with another content.
        """
        digest, size_bytes = blobs.digest_of(projector)
        record = FederationRecord(federation, spec, now, toml, digest, size_bytes)
        return federations.create(self._store, record, projector)

    def federation(self, name: str) -> FederationRecord:
        """A federation as it was created.

        Raises:
            FederationUnknown: There is none of that name.
        """
        record = self._records.get(name) or federations.find(self._store, name)
        if record is None:
            raise FederationUnknown(f"There is no federation {shown(name)}. Check its name.")
        remember(self._records, name, record)
        return record

    def federations(self) -> list[str]:
        """Names of all federations, sorted; no definition is read, so one that is damaged hides no other."""
        names = federations.catalog(self._store)
        return [name for name in names if name in self._records or exists(self._store, keys.federation_file(name))]

    def state(self, name: str) -> FederationState:
        """What the operator last asked for; running at first. That all rounds are over does not show here."""
        self.federation(name)
        return federations.state(self._store, name)

    def resumed_at(self, name: str) -> datetime | None:
        """When the operator last resumed the federation; None when it was never paused, or is."""
        return federations.resumed_at(self._store, name)

    def set_state(self, name: str, state: FederationState, *, reason: str, now: datetime) -> None:
        """Pauses, resumes or finishes a federation; the same state twice is no error.

        Raises:
            FederationFinished: It is finished, which is final.
        """
        self.federation(name)
        federations.set_state(self._store, name, state, reason=reason, now=now)

    def invite(self, federation: str, silo: SiloRecord, *, replace: bool = False) -> SiloRecord:
        """Invites a silo, or one that is enrolled anew; see `enrolment.invite`."""
        self.federation(federation)
        return enrolment.invite(self._store, federation, silo, replace=replace)

    def revoke(self, federation: str, silo: str) -> None:
        """Bars a silo from the next call on; see `enrolment.revoke`."""
        self.federation(federation)
        enrolment.revoke(self._store, federation, silo)

    def silos(self, federation: str) -> list[SiloRecord]:
        """Every enrolment, revoked ones too, sorted by name."""
        return enrolment.all_silos(self._store, federation)

    def active_silos(self, federation: str) -> tuple[str, ...]:
        """Who is enrolled and not revoked, sorted; two listings, and no document is read."""
        return enrolment.active_names(self._store, federation)

    def enrolled(self, federation: str, credential: str) -> Enrolled | None:
        """The silo whose credential this is, active or not; None when it is nobody's, or there is no federation."""
        return enrolment.enrolled(self._store, federation, credential)

    def manifest(self, federation: str, number: int) -> ProjectorManifest:
        """What is known of a global projector.

        Raises:
            FederationUnknown: There is no such federation.
            ProjectorUnknown: It was not published (yet).
        """
        record = self.federation(federation)
        if number == 0:
            return record.initial
        manifest = self._manifests.get((federation, number))
        if manifest is None:
            document = once.find(self._store, keys.projector(federation, number)) if number > 0 else None
            if document is None:
                raise ProjectorUnknown(f"Federation {federation} has not published projector {number}.")
            manifest = manifest_from_json(document)
            remember(self._manifests, (federation, number), manifest)
        return manifest

    def latest_number(self, federation: str) -> int:
        """The newest global projector: in the steady state one look for the next one, whatever the number.

        Projectors are published without a gap and never taken back, so a number once seen is where looking begins.
        """
        self.federation(federation)
        number = last_true(
            lambda n: exists(self._store, keys.projector(federation, n)), self._latest.get(federation, 0)
        )
        remember(self._latest, federation, number)
        return number

    def lineage(self, federation: str) -> list[ProjectorManifest]:
        """All manifests, projector 0 first."""
        return [self.manifest(federation, number) for number in range(self.latest_number(federation) + 1)]

    def put_blob(self, federation: str, content: Content, *, digest: bytes) -> None:
        """Stores tensors under the digest of their bytes; bytes already there are left alone."""
        blobs.put(self._store, federation, content, digest=digest)

    def read_blob(self, federation: str, digest: bytes, *, start: int, size: int) -> bytes:
        """Bytes of a projector or optimizer state from `start`, at most `size` of them.

        Raises:
            ProjectorUnknown: There is no such blob.
        """
        try:
            return self._store.get(keys.blob(federation, digest), start=start, size=size)
        except KeyError:
            raise ProjectorUnknown(f"Federation {federation} has no projector with digest {digest.hex()}.") from None

    def blob(self, federation: str, digest: bytes) -> Reader:
        """Reads ranges of a projector or optimizer state."""
        return lambda start, size: self.read_blob(federation, digest, start=start, size=size)

    def payload(self, contribution: Contribution) -> Reader:
        """Reads ranges of a contribution's payload out of its segments.

        Raises (when it reads):
            InvariantBroken: A segment is gone; tells when the round's deltas were removed.
        """

        def get(segment: Segment, start: int, size: int) -> bytes:
            try:
                return self._store.get(segment.key, start=start, size=size)
            except KeyError:
                raise InvariantBroken(removal.gone(self._store, contribution)) from None

        return lambda start, size: read_range(contribution.segments, get, start=start, size=size)

    def stage_segment(self, upload: Upload, *, offset_bytes: int, data: bytes | memoryview, digest: bytes) -> Segment:
        """Makes a run of a payload's bytes durable; the same run staged twice is one segment.

        Args:
            upload: Of which push.
            offset_bytes: Where the run begins in the payload.
            data: The run.
            digest: SHA-256 of the payload from its start to the run's end; whoever receives it has it at hand.
        """
        return staging.stage(self._store, upload, offset_bytes=offset_bytes, data=data, digest=digest)

    def committed_segments(self, upload: Upload) -> list[Segment]:
        """What is durable of a push, without a gap from 0; it never gets shorter until the upload is dropped."""
        return staging.committed(self._store, upload)

    def staged_total(self, federation: str, round_number: int, silo: str) -> staging.StagedTotal:
        """What a silo has staged for a round, whatever became of it."""
        return staging.total(self._store, federation, round_number, silo=silo)

    def read_segment(self, segment: Segment) -> bytes:
        """A staged segment's bytes."""
        return self._store.get(segment.key)

    def drop_upload(self, upload: Upload) -> None:
        """Forgets what is durable of a push whose bytes were wrong: a retry starts at 0."""
        staging.drop(self._store, upload)

    def sweep_uploads(self, federation: str, round_number: int) -> int:
        """Deletes what was staged for a round, once it can be counted no more and no roster did; how many keys."""
        last = self.federation(federation).federation.last_counting(round_number)
        if not 1 <= round_number <= last <= self.latest_number(federation):
            return 0
        rosters = [self.roster(federation, number) for number in range(round_number, last + 1)]
        kept = [
            one for roster in rosters if roster for one in self.roster_contributions(roster.trained_from(round_number))
        ]
        return staging.sweep(self._store, keys.uploads(federation, round_number), kept=kept)

    def commit_contribution(self, contribution: Contribution) -> Contribution:
        """Makes a contribution durable; the one that stands, which is an earlier one of the same payload if any.

        Raises:
            ContributionConflict: The silo contributed another payload to this round.
        """
        header = contribution.header
        key = keys.contribution(header.federation, header.round, contribution.silo)
        if self._store.put_if_absent(key, contribution.to_json()):
            return contribution
        standing = Contribution.from_json(self._store.get(key))
        if standing.header.payload_digest != header.payload_digest:
            raise ContributionConflict(
                f"Silo {contribution.silo} already contributed another delta to round {header.round} of federation "
                f"{header.federation}; the first one stands.",
                sha256=standing.header.payload_digest.hex(),
            )
        return standing

    def contribution(self, federation: str, round_number: int, silo: str) -> Contribution | None:
        """What a silo contributed to a round, whether the roster counted it or not."""
        document = once.find(self._store, keys.contribution(federation, round_number, silo))
        return Contribution.from_json(document) if document else None

    def contributors(self, federation: str, round_number: int) -> tuple[str, ...]:
        """Who contributed to a round, sorted; one listing, and no document is read."""
        return once.names(self._store, keys.contributions(federation, round_number))

    def contributions(self, federation: str, round_number: int) -> list[Contribution]:
        """What was contributed to a round, sorted by silo."""
        silos = self.contributors(federation, round_number)
        found = (self.contribution(federation, round_number, silo) for silo in silos)
        return [contribution for contribution in found if contribution is not None]

    def mark_closing(self, federation: str, closing: Closing) -> Closing:
        """Marks a round as about to be cut; the marker that stands."""
        key = keys.closing(federation, closing.round)
        return Closing.from_json(once.stand(self._store, key, closing.to_json()))

    def closing(self, federation: str, round_number: int) -> Closing | None:
        """The marker that a round is about to be cut; None while the round is open."""
        document = once.find(self._store, keys.closing(federation, round_number))
        return Closing.from_json(document) if document else None

    def fix_roster(self, roster: Roster) -> Roster:
        """Fixes what a round aggregates; the roster that stands, which every replica then aggregates."""
        key = keys.roster(roster.federation, roster.round)
        return Roster.from_json(once.stand(self._store, key, roster.to_json()))

    def roster(self, federation: str, round_number: int) -> Roster | None:
        """What a round aggregates; None until it is cut."""
        document = once.find(self._store, keys.roster(federation, round_number))
        return Roster.from_json(document) if document else None

    def roster_contributions(self, roster: Roster) -> list[Contribution]:
        """The contributions of a roster in its order.

        Raises:
            InvariantBroken: One is not there, or is not the one that was counted.
        """
        found = []
        for entry in roster.entries:
            contribution = self.contribution(roster.federation, roster.round - entry.staleness, entry.silo)
            if contribution is None or contribution.digest != entry.contribution_digest:
                raise InvariantBroken(
                    f"Federation {roster.federation}, round {roster.round}: the store's contribution of silo "
                    f"{entry.silo} is not the one that the roster counted."
                )
            found.append(contribution)
        return found

    def publish(self, federation: str, manifest: ProjectorManifest) -> ProjectorManifest:
        """Makes a global projector visible; the manifest that stands. Its blobs must be stored before."""
        key = keys.projector(federation, manifest.number)
        return manifest_from_json(once.stand(self._store, key, manifest_to_json(manifest)))

    def record_act(self, federation: str, act: Act) -> None:
        """Puts on record what somebody asked for; reads what came since the last one, however many there are."""
        place = acts.append(self._store, federation, act, after=self._behind_acts.get(federation))
        remember(self._behind_acts, federation, place)

    def record_refusal(
        self, federation: str, round_number: int, silo: str, *, refusal: IsthmusError, now: datetime
    ) -> bool:
        """Puts on record why a push of this silo to this round was refused; see `audit.append_refusal`."""
        trail, known = audit.Trail(federation, round_number, silo), self.federation(federation).spec.names
        return audit.append_refusal(self._store, trail, refusal=refusal, now=now, known=known)

    def record_admission(self, contribution: Contribution) -> None:
        """Puts on record that a contribution was admitted; the same record however often, and whoever asks."""
        audit.record_admission(self._store, contribution)

    def record_admissions(self, contributions: Sequence[Contribution]) -> None:
        """Puts on record those of these contributions that are not yet: their committers may have died before."""
        rounds = {(one.header.federation, one.header.round) for one in contributions}
        recorded = {entry.key for prefix in rounds for entry in self._store.list(keys.audits(*prefix))}
        for one in contributions:
            if keys.admission(one.header.federation, one.header.round, one.silo) not in recorded:
                self.record_admission(one)

    def last_refusal(self, federation: str, round_number: int, silo: str) -> str:
        """Why the silo's last push to this round was refused; empty when it was not, or there was none."""
        return audit.last_refusal(self._store, audit.Trail(federation, round_number, silo))

    def was_refused(self, federation: str, round_number: int, silo: str) -> bool:
        """Whether admission refused the silo's last delta for this round; see `audit.was_refused`."""
        return audit.was_refused(self._store, audit.Trail(federation, round_number, silo))

    def recorded_silos(self, federation: str, round_number: int) -> tuple[str, ...]:
        """Silos with any push to this round on record, sorted; one listing."""
        entries = self._store.list(keys.audits(federation, round_number))
        return tuple(sorted({entry.key.split("/")[-2] for entry in entries}))
