"""Whether a federation takes anything from its silos: neither paused nor finished."""

from aggregator.ledger import Ledger
from isthmus.errors import FederationFinished, FederationPaused
from isthmus.federation import FederationState


def require_running(ledger: Ledger, federation: str, *, open_round: int) -> None:
    """Checks that the federation is running and its open round is one that it has.

    Raises:
        FederationFinished, FederationPaused: It is not.
    """
    state = ledger.state(federation)
    if state is FederationState.FINISHED or open_round > ledger.federation(federation).federation.rounds:
        raise FederationFinished(f"Federation {federation} is finished; nothing more is admitted.")
    if state is FederationState.PAUSED:
        raise FederationPaused(f"The operator paused federation {federation}. Push again once it is resumed.")
