"""Messages of isthmus.v1 about keys and seeds <-> values."""

from isthmus.round import Masks, Round
from isthmus.secure_aggregation.keys import KeyOffer, KeyRoster, Member
from isthmus.v1 import aggregator_pb2


def offer_to_proto(offer: KeyOffer) -> aggregator_pb2.OfferKeyRequest:
    """The offer, field by field."""
    return aggregator_pb2.OfferKeyRequest(**{name: getattr(offer, name) for name in offer.__dataclass_fields__})


def offer_from_proto(message: aggregator_pb2.OfferKeyRequest) -> KeyOffer:
    """The offer, field by field."""
    return KeyOffer(**{name: getattr(message, name) for name in KeyOffer.__dataclass_fields__})


def members_to_proto(members: tuple[Member, ...]) -> list[aggregator_pb2.KeyRosterMember]:
    """The members, field by field."""
    return [
        aggregator_pb2.KeyRosterMember(**{name: getattr(one, name) for name in one.__dataclass_fields__})
        for one in members
    ]


def roster_from_proto(message: aggregator_pb2.GetKeyRosterResponse, current: Round) -> KeyRoster | None:
    """The roster of a round as the silo knows the round; None until it is fixed."""
    members = tuple(
        Member(**{name: getattr(one, name) for name in Member.__dataclass_fields__}) for one in message.members
    )
    if not members:
        return None
    return KeyRoster(current.federation, current.number, current.base_digest, current.spec.fingerprint, members)


def masks_from_proto(message: aggregator_pb2.GetRoundResponse) -> Masks | None:
    """How this round's deltas are masked; None: they are not."""
    if not message.HasField("secure_aggregation"):
        return None
    return Masks(message.secure_aggregation.clip, message.secure_aggregation.bits)
