"""The silos of a federation, their invitations and credentials."""

from dataclasses import replace
from datetime import timedelta

import pytest

from aggregator.ledger import Ledger, enrolment
from aggregator.stores import Content
from aggregator.stores.memory import MemoryStore
from isthmus.errors import InvitationInvalid, NameInvalid, SiloExists, SiloUnknown
from tests.ledgers import NAME, after, credential, credential_record, definition, enrol, found, invitation
from tests.ledgers import START as NOW


@pytest.fixture
def store() -> MemoryStore:
    """An empty store."""
    return MemoryStore()


@pytest.fixture
def ledger(store: MemoryStore) -> Ledger:
    """A ledger with one federation of silos a, b, c."""
    ledger = Ledger(store)
    found(ledger)
    return ledger


def who(ledger: Ledger, name: str, *, federation: str = NAME) -> tuple[str, bool] | None:
    """The silo whose credential follows from `name`, and whether it opens anything."""
    found = ledger.enrolled(federation, credential(name))
    return (found.silo, found.active) if found else None


def test_silo_is_known_by_its_credential(ledger: Ledger) -> None:
    """A credential names its silo, in its own federation alone."""
    found(ledger, definition("anchor"), silos=())

    assert (("b", True), None, None, None) == (
        who(ledger, "b"),
        who(ledger, "b", federation="anchor"),
        who(ledger, "b", federation="nowhere"),
        who(ledger, "stranger"),
    )


def test_enrolled_silo_is_replaced_only_when_asked(ledger: Ledger) -> None:
    """A second invitation is refused; with replace the old credential opens nothing and the new one does."""
    with pytest.raises(SiloExists, match="replace"):
        enrol(ledger, "a", name="new")
    assert None is who(ledger, "new")

    enrol(ledger, "a", name="new", now=after(1), replace=True)

    assert (("a", False), ("a", True)) == (who(ledger, "a"), who(ledger, "new"))


def test_invitation_that_nobody_used_is_replaced_without_asking(ledger: Ledger) -> None:
    """An invitation that got lost costs nothing: the next one voids it."""
    lost = invitation("d", name="lost")
    ledger.invite(NAME, lost)
    ledger.invite(NAME, invitation("d", name="next"))

    with pytest.raises(InvitationInvalid, match="replaced"):
        enrolment.invited(ledger.store, NAME, lost.invitation_sha256, now=NOW)


def test_renewal_that_races_with_a_replacement_brings_nothing_back(ledger: Ledger) -> None:
    """A credential that a renewal adds after the operator invited the silo anew opens nothing."""
    old = ledger.enrolled(NAME, credential("a"))
    assert old is not None
    enrol(ledger, "a", name="new", replace=True)

    enrolment.add_credential(ledger.store, NAME, replace(old.credential, credential=credential("renewed")))

    assert (("a", False), ("a", True)) == (who(ledger, "renewed"), who(ledger, "new"))


def test_invitation_is_used_once(ledger: Ledger) -> None:
    """The same keys may use it again, as after a lost answer; other keys may not, and change nothing."""
    invited = invitation("d")
    ledger.invite(NAME, invited)
    own, foreign = credential_record(invited), credential_record(invited, name="thief")
    for _ in range(2):
        enrolment.redeem(ledger.store, NAME, own)

    with pytest.raises(InvitationInvalid, match="used already"):
        enrolment.redeem(ledger.store, NAME, foreign)
    assert (("d", True), None) == (who(ledger, "d"), who(ledger, "thief"))


def test_invitation_expires(ledger: Ledger) -> None:
    """Up to the instant named it works, from then on it does not."""
    invited = invitation("d")
    ledger.invite(NAME, invited)

    last = invited.expires_at - timedelta(microseconds=1)
    assert invited == enrolment.invited(ledger.store, NAME, invited.invitation_sha256, now=last)
    with pytest.raises(InvitationInvalid, match="expired at 2026-03-02 12:00"):
        enrolment.invited(ledger.store, NAME, invited.invitation_sha256, now=invited.expires_at)


@pytest.mark.parametrize("change", ["revoked", "of another federation", "unknown"])
def test_invitation_that_does_not_stand_is_told(ledger: Ledger, change: str) -> None:
    """One of a revoked silo, of another federation or of nobody opens nothing."""
    found(ledger, definition("anchor"), silos=())
    invited = invitation("d")
    ledger.invite(NAME, invited)
    if change == "revoked":
        ledger.revoke(NAME, "d")
    federation = "anchor" if change == "of another federation" else NAME
    digest = "0" * 64 if change == "unknown" else invited.invitation_sha256

    with pytest.raises(InvitationInvalid):
        enrolment.invited(ledger.store, federation, digest, now=NOW)


def test_revoked_silo_stays_known_and_inactive(ledger: Ledger) -> None:
    """Revoking bars a silo, may be repeated, and is undone by inviting it again."""
    ledger.revoke(NAME, "b")
    ledger.revoke(NAME, "b")

    assert [("a", True), ("b", False), ("c", True)] == [(silo.silo, silo.active) for silo in ledger.silos(NAME)]
    enrol(ledger, "b", name="new", replace=True)
    assert [True, True, True] == [silo.active for silo in ledger.silos(NAME)]


@pytest.mark.parametrize("name", ["", "../x", "A", "x" * 64, "-a", "a/b"])
def test_bad_silo_name_is_refused(ledger: Ledger, name: str) -> None:
    """What is no silo's name cannot be invited, and is unknown to revoke."""
    with pytest.raises(NameInvalid):
        ledger.invite(NAME, invitation(name, name="x"))
    with pytest.raises(SiloUnknown):
        ledger.revoke(NAME, name)


def test_active_silos_are_those_not_revoked(ledger: Ledger) -> None:
    """Who is active is known by name alone, and follows revocations and new invitations at once."""
    seen = [ledger.active_silos(NAME)]
    ledger.revoke(NAME, "b")
    seen.append(ledger.active_silos(NAME))
    enrol(ledger, "b", name="new", replace=True)

    assert [("a", "b", "c"), ("a", "c"), ("a", "b", "c")] == [*seen, ledger.active_silos(NAME)]


def test_revoked_silo_is_known_by_its_credential(ledger: Ledger) -> None:
    """A revoked silo's call is told apart from a stranger's, and its old credential stays void when it is back."""
    ledger.revoke(NAME, "a")
    revoked = who(ledger, "a")
    enrol(ledger, "a", name="new", replace=True)

    assert (("a", False), ("a", False)) == (revoked, who(ledger, "a"))


class LosesAnswers(MemoryStore):
    """A bucket whose every answer to a creation is lost: its client repeats the put, finds the key, and says False."""

    def put_if_absent(self, key: str, content: Content) -> bool:
        """See Store."""
        super().put_if_absent(key, content)
        return False


def test_invitation_whose_puts_lost_their_answers_is_valid() -> None:
    """A credential is not lost because the bucket denies having created what this very call created."""
    ledger = Ledger(LosesAnswers())
    found(ledger, silos=())

    enrol(ledger, "a")

    assert ("a", True) == who(ledger, "a")
    with pytest.raises(SiloExists):
        enrol(ledger, "a", name="b", now=after(1))
