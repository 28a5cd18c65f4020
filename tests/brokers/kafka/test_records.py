"""Tests of L{confd.brokers.kafka.records}."""

from __future__ import annotations

import contextlib

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from confd.brokers.kafka.records import BatchReader, Record, encode, partition_of
from confd.brokers.link import CommandRefused, Lost


def read(raw: bytes, position: int = 0) -> tuple[list[bytes | None], int, int]:
    """Return the values from a position on, the position behind them, and the number of skipped batches."""
    reader, found = BatchReader(), list[Record]()
    end = reader.read(raw, position, found)
    return [each.value for each in found], end, reader.skipped


class BatchTests(SynchronousTestCase):
    """L{BatchReader} and L{encode}."""

    @given(st.binary(), st.lists(st.binary(), min_size=1, max_size=5))
    def test_what_was_written_is_read(self, key: bytes, values: list[bytes]) -> None:
        self.assertEqual(read(encode(key, values)), (values, len(values), 0))

    def test_reading_goes_on_within_a_batch(self) -> None:
        self.assertEqual(read(encode(b"k", [b"0", b"1", b"2"]), 2), ([b"2"], 3, 0))

    def test_part_of_a_batch_waits_for_the_next_answer(self) -> None:
        raw = encode(b"k", [b"0"])
        self.assertEqual(read(raw + raw[:-1]), ([b"0"], 1, 0))
        self.assertRaises(CommandRefused, read, raw[:-1])
        self.assertEqual(read(b""), ([], 0, 0))

    @given(st.data())
    def test_damaged_batches_are_skipped_or_refused(self, data: st.DataObject) -> None:
        raw = bytearray(encode(b"key", [b"value" * 10]))
        # The checksum does not cover the bytes before itself, such as the offset and the length.
        place = data.draw(st.integers(17, len(raw) - 1))
        raw[place] ^= data.draw(st.integers(1, 255))
        try:
            values, end, skipped = read(bytes(raw))
        except Lost:
            return
        self.assertEqual((values, skipped), ([], 1))
        self.assertGreaterEqual(end, 0)

    @given(st.binary(max_size=200))
    def test_rubbish_is_refused(self, raw: bytes) -> None:
        with contextlib.suppress(CommandRefused, Lost):
            self.assertEqual(read(raw)[0], [])


class PartitionTests(SynchronousTestCase):
    """L{partition_of}."""

    def test_same_partition_as_the_clients_of_kafka(self) -> None:
        # Of the default partitioner of Apache Kafka's Java client.
        found = {key: partition_of(key, 1000) for key in (b"21", b"foobar", b"a-little-bit-long-string")}
        hashes = {b"21": -973932308, b"foobar": -790332482, b"a-little-bit-long-string": -985981536}
        self.assertEqual(found, {key: (value & 0x7FFFFFFF) % 1000 for key, value in hashes.items()})
