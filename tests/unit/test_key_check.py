"""Which records are in another partition than their user's, and why."""

from __future__ import annotations

import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.operations.key_check import (
    OTHERS,
    Sampled,
    disagreement,
    expected_partition,
    measure,
)

PARTITIONS = 4
USERS = [b"u%d" % number for number in range(200)]
(CRC32, FNV1A) = OTHERS


def placed(number: int, user: bytes | None, **changed: object) -> Sampled:
    """Return a record with the right key in the right partition, but for what is given."""
    partition = 0 if user is None else expected_partition(user, PARTITIONS)
    return Sampled(partition, number, user, user)._replace(**changed)


@pytest.mark.parametrize(
    ("key", "murmur2"),
    [
        # From the tests of Kafka's Java client.
        (b"21", -973932308),
        (b"foobar", -790332482),
        (b"a-little-bit-long-string", -985981536),
        (b"a-little-bit-longer-string", -1486304829),
        (b"abc", 479470107),
    ],
)
def test_as_java_does(key: bytes, murmur2: int) -> None:
    """The expected partition is the one of the Java client."""
    for partitions in (1, 4, 6, 1000):
        assert expected_partition(key, partitions) == (murmur2 & 0x7FFFFFFF) % partitions


def test_as_other_clients_do() -> None:
    """The other partitioners are known by their published check values."""
    assert OTHERS[CRC32](b"123456789", 1 << 32) == 0xCBF43926
    # Sarama takes the hash as a signed number.
    assert OTHERS[FNV1A](b"foobar", 1 << 32) == (1 << 32) - 0xBF9CF968
    assert OTHERS[FNV1A](b"foobar", 10) == ((1 << 32) - 0xBF9CF968) % 10


def test_right() -> None:
    """Records in their user's partition are right; those of nobody are not looked at."""
    sample = [placed(number, user) for number, user in enumerate(USERS)]
    sample += [placed(900, None), placed(901, None, partition=3)]
    report = measure(sample, partitions=PARTITIONS)
    assert (report.records, report.owned) == (202, 200)
    assert (report.other_key, report.misplaced, report.first, report.fits) == (0, 0, None, None)


@pytest.mark.parametrize("name", OTHERS)
def test_other_partitioner(name: str) -> None:
    """The partitioner of another client is recognised, also beside a few records of Java's."""
    sample = [
        placed(number, user, partition=OTHERS[name](user, PARTITIONS))
        for number, user in enumerate(USERS)
    ]
    report = measure([placed(0, b"java"), *sample], partitions=PARTITIONS)
    wrong = [one for one in sample if one.partition != expected_partition(one.key, PARTITIONS)]
    assert report.fits == name
    assert report.misplaced == len(wrong) > 100
    assert report.first == (wrong[0].partition, wrong[0].offset)


def test_other_key() -> None:
    """Records whose key is the order are counted, and no partitioner is blamed."""
    sample = [
        placed(number, user, key=b"o-" + user, partition=expected_partition(b"o-" + user, 4))
        for number, user in enumerate(USERS)
    ]
    report = measure(sample, partitions=PARTITIONS)
    assert report.other_key == 200
    assert 100 < report.misplaced < 200
    assert report.fits is None


def test_chosen_by_hand() -> None:
    """Partitions that follow no key fit no partitioner."""
    sample = [placed(number, user, partition=number % 4) for number, user in enumerate(USERS)]
    assert measure(sample, partitions=PARTITIONS).fits is None


def test_topics_disagree() -> None:
    """Users are compared between topics, and within one."""
    clicks = [placed(number, user) for number, user in enumerate(USERS[:100])]
    orders = [
        placed(number, user, partition=zlib.crc32(user) % PARTITIONS)
        for number, user in enumerate(USERS[50:])
    ]
    apart = sum(
        expected_partition(user, PARTITIONS) != zlib.crc32(user) % PARTITIONS
        for user in USERS[50:100]
    )
    assert disagreement([clicks, orders]) == (50, apart)
    assert apart > 10
    assert disagreement([clicks, clicks]) == (100, 0)
    assert disagreement([clicks, [*clicks, placed(999, USERS[0], partition=9)]]) == (100, 1)


@given(st.lists(st.tuples(st.binary(min_size=1, max_size=9), st.integers(0, 3))))
def test_bounds(made: list[tuple[bytes, int]]) -> None:
    """No count exceeds that of the records with a user, and the first one is one of them."""
    sample = [Sampled(part, number, user, user) for number, (user, part) in enumerate(made)]
    report = measure(sample, partitions=PARTITIONS)
    assert 0 <= report.misplaced <= report.owned == report.records == len(made)
    assert (report.first is None) == (report.misplaced == 0)
