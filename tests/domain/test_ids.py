"""Ids and times: UUIDv7 that ascend within one process (RFC 9562 §5.7)."""

import os
import uuid

import pytest

from parley.domain.ids import IdSource, is_reserved, rfc3339


def test_ids_are_uuids_of_version_seven_with_their_time() -> None:
    made = uuid.UUID(IdSource(lambda: 1_800_000_000_123, os.urandom)())
    assert (made.version, made.variant) == (7, uuid.RFC_4122)
    assert made.int >> 80 == 1_800_000_000_123


def test_ids_ascend_also_within_a_millisecond_and_while_the_clock_goes_back() -> None:
    times = iter([5, 5, 5, 6, 4, 4] + [4] * 10_000)
    source = IdSource(lambda: next(times), os.urandom)
    made = [source() for _ in range(10_000)]
    assert made == sorted(set(made))


def test_ids_of_two_sources_at_one_moment_differ() -> None:
    one, other = (IdSource(lambda: 5, os.urandom) for _ in range(2))
    assert not {one() for _ in range(1000)} & {other() for _ in range(1000)}


@pytest.mark.parametrize(
    ("at_ms", "told"),
    [
        (0, "1970-01-01T00:00:00.000Z"),
        (1_795_339_800_000, "2026-11-22T09:30:00.000Z"),
        (1_800_000_000_007, "2027-01-15T08:00:00.007Z"),
        (253_402_300_799_999, "9999-12-31T23:59:59.999Z"),
        (2**53 * 1000, "9999-12-31T23:59:59.999Z"),
    ],
)
def test_times_are_told_in_utc_with_milliseconds(at_ms: int, told: str) -> None:
    assert rfc3339(at_ms) == told


def test_what_the_server_keeps_for_itself() -> None:
    assert all(map(is_reserved, ("queue", "c-", "c-1", "s-radio", "x.notes")))
    assert not any(map(is_reserved, ("queues", "cc-1", "notes", "x.notes.y")))
