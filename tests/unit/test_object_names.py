"""Names of objects are made and taken apart in one place, and strangers' names do no harm."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conflict.errors import MalformedValueError
from conflict.version import ActorId
from tests.support.strategies import actor_ids
from transport.object_names import (
    LABEL_LENGTH_MAX,
    PACK_NUMBER_MAX,
    SEQUENCE_MAX,
    VOLUME_RECORD,
    ActorName,
    PackName,
    SegmentName,
    actor_name,
    check_label,
    log_prefix,
    pack_name,
    parse_actor_name,
    parse_pack_name,
    parse_segment_name,
    recognise,
    segment_name,
)
from transport.object_store import is_name
from transport.wire_errors import WireFormatError

ACTOR = ActorId(bytes(range(16)))
HEX = "000102030405060708090a0b0c0d0e0f"


def test_names_are_pinned() -> None:
    assert VOLUME_RECORD == "volume/record"
    assert segment_name(ACTOR, 255) == f"log/{HEX}/00000000000000ff"
    assert segment_name(ACTOR, 255).startswith(log_prefix(ACTOR))
    assert actor_name("bari", ACTOR) == f"actors/bari/{HEX}"
    assert pack_name(ACTOR, 10) == f"packs/{HEX}/00000000000a"


@settings(deadline=None)
@given(actor_ids, st.integers(0, SEQUENCE_MAX), st.integers(0, PACK_NUMBER_MAX))
def test_names_come_back_apart(actor: ActorId, sequence: int, number: int) -> None:
    assert parse_segment_name(segment_name(actor, sequence)) == SegmentName(actor, sequence)
    assert parse_pack_name(pack_name(actor, number)) == PackName(actor, number)
    assert parse_actor_name(actor_name("a.b-c_1", actor)) == ActorName("a.b-c_1", actor)


@settings(deadline=None)
@given(st.lists(st.integers(0, SEQUENCE_MAX), max_size=5))
def test_a_sorted_listing_is_in_order_of_the_numbers(sequences: list[int]) -> None:
    names = [segment_name(ACTOR, sequence) for sequence in sorted(sequences)]
    assert names == sorted(names)


def test_stores_accept_the_names() -> None:
    announced = actor_name("a" * LABEL_LENGTH_MAX, ACTOR)
    for name in (VOLUME_RECORD, announced, segment_name(ACTOR, 0), pack_name(ACTOR, 0)):
        assert is_name(name)


@pytest.mark.parametrize(
    "name",
    [
        "",
        "log",
        f"log/{HEX}",
        f"log/{HEX}/",
        f"log/{HEX}/ff",
        f"log/{HEX}/00000000000000FF",
        f"log/{HEX.upper()}/00000000000000ff",
        f"log/{HEX}/00000000000000ff\n",
        f"log/{HEX}/ffffffffffffffff",
        f"/log/{HEX}/00000000000000ff",
        f"actors/../{HEX}",
        f"actors/a/b/{HEX}",
        f"actors/{'a' * (LABEL_LENGTH_MAX + 1)}/{HEX}",
        f"packs/{HEX}/00000000000000ff",
        f"packs/{HEX}/.00000000000a",
        VOLUME_RECORD,
    ],
)
def test_a_strangers_name_is_not_recognised(name: str) -> None:
    assert recognise(name) is None
    for parse in (parse_segment_name, parse_actor_name, parse_pack_name):
        with pytest.raises(WireFormatError, match=r"is not the name of a .*leave it alone"):
            parse(name)


def test_a_name_of_another_kind_is_refused() -> None:
    with pytest.raises(WireFormatError, match="is not the name of a pack"):
        parse_pack_name(segment_name(ACTOR, 0))
    with pytest.raises(WireFormatError, match="is not the name of a segment"):
        parse_segment_name(pack_name(ACTOR, 0))


@pytest.mark.parametrize("label", ["", ".", "..", "a/b", "-a", "a b", "caf\xe9", "a" * 65, "a\n"])
def test_what_can_not_be_part_of_a_name_is_no_name_of_a_site(label: str) -> None:
    with pytest.raises(MalformedValueError, match="a site is called"):
        check_label(label, "a site")
    with pytest.raises(MalformedValueError, match="a site is called"):
        actor_name(label, ACTOR)
