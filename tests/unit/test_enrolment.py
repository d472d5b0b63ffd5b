"""The silos of a federation and their credentials."""

import pytest

from aggregator.ledger import Ledger
from aggregator.stores import Content
from aggregator.stores.memory import MemoryStore
from isthmus.errors import NameInvalid, SiloExists, SiloUnknown
from tests.ledgers import NAME, after, credential, definition, found
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


def test_silo_is_known_by_its_credential(ledger: Ledger) -> None:
    """A credential names its silo, in its own federation alone."""
    found(ledger, definition("anchor"), silos=())

    silo = ledger.silo_of(NAME, credential("b"))
    assert ("b", True, None, None, None) == (
        silo.silo if silo else "",
        silo.active if silo else None,
        ledger.silo_of("anchor", credential("b")),
        ledger.silo_of("nowhere", credential("b")),
        ledger.silo_of(NAME, credential("stranger")),
    )


def test_enrolled_silo_is_replaced_only_when_asked(ledger: Ledger) -> None:
    """A second invitation is refused; with replace the old credential is nobody's and the new one opens."""
    with pytest.raises(SiloExists, match="replace"):
        ledger.invite(NAME, "a", credential_sha256=credential("new"), now=NOW)
    assert None is ledger.silo_of(NAME, credential("new"))

    ledger.invite(NAME, "a", credential_sha256=credential("new"), now=after(1), replace=True)

    new = ledger.silo_of(NAME, credential("new"))
    assert (None, "a") == (ledger.silo_of(NAME, credential("a")), new.silo if new else "")


def test_revoked_silo_stays_known_and_inactive(ledger: Ledger) -> None:
    """Revoking bars a silo, may be repeated, and is undone by inviting it again."""
    ledger.revoke(NAME, "b")
    ledger.revoke(NAME, "b")

    assert [("a", True), ("b", False), ("c", True)] == [(silo.silo, silo.active) for silo in ledger.silos(NAME)]
    ledger.invite(NAME, "b", credential_sha256=credential("new"), now=NOW, replace=True)
    assert [True, True, True] == [silo.active for silo in ledger.silos(NAME)]


@pytest.mark.parametrize("name", ["", "../x", "A", "x" * 64, "-a", "a/b"])
def test_bad_silo_name_is_refused(ledger: Ledger, name: str) -> None:
    """What is no silo's name cannot be invited, and is unknown to revoke."""
    with pytest.raises(NameInvalid):
        ledger.invite(NAME, name, credential_sha256=credential("x"), now=NOW)
    with pytest.raises(SiloUnknown):
        ledger.revoke(NAME, name)


def test_active_silos_are_those_not_revoked(ledger: Ledger) -> None:
    """Who is active is known by name alone, and follows revocations and new invitations at once."""
    seen = [ledger.active_silos(NAME)]
    ledger.revoke(NAME, "b")
    seen.append(ledger.active_silos(NAME))
    ledger.invite(NAME, "b", credential_sha256=credential("new"), now=NOW, replace=True)

    assert [("a", "b", "c"), ("a", "c"), ("a", "b", "c")] == [*seen, ledger.active_silos(NAME)]


def test_revoked_silo_is_known_by_its_credential(ledger: Ledger) -> None:
    """A revoked silo's call is told apart from a stranger's, and its lost credential stays void when it is back."""
    ledger.revoke(NAME, "a")
    revoked = ledger.silo_of(NAME, credential("a"))
    ledger.invite(NAME, "a", credential_sha256=credential("new"), now=NOW, replace=True)

    assert (("a", False), None) == (
        (revoked.silo, revoked.active) if revoked else None,
        ledger.silo_of(NAME, credential("a")),
    )


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

    invited = ledger.invite(NAME, "a", credential_sha256=credential("a"), now=NOW)

    assert invited == ledger.silo_of(NAME, credential("a"))
    with pytest.raises(SiloExists):
        ledger.invite(NAME, "a", credential_sha256=credential("b"), now=after(1))
