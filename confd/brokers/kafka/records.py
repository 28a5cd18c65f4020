"""The records of a Kafka topic, and the batches that servers keep them in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

from aiokafka.partitioner import murmur2
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.memory_records import MemoryRecords
from attrs import define, field, frozen

from confd.brokers.link import CommandRefused, Lost

#: Bits of a batch's attributes that name its compression.
_COMPRESSION = 0x07

#: The version of the format of batches, since Kafka 0.11.
_MAGIC = 2


@frozen
class Record:
    """
    A message of a topic.

    @ivar time: when it was written, in milliseconds since 1970.
    """

    key: bytes | None
    value: bytes | None
    time: int


#: A batch of aiokafka, which has no type.
_Batch: TypeAlias = Any


@define(eq=False)
class BatchReader:
    """
    Decode answers with batches.

    @ivar skipped: batches that were not read so far, because they are compressed or damaged.
    """

    skipped: int = field(default=0, init=False)

    def read(self, raw: bytes, position: int, found: list[Record]) -> int:
        """
        Append the records from a position on.

        @param raw: batches, and possibly the beginning of another one.
        @return: the offset that follows them.
        @raise CommandRefused: the answer holds no whole batch.
        @raise Lost: the answer holds something else.
        """
        batches, begin = MemoryRecords(raw), position
        if raw and not batches.has_next():
            raise CommandRefused("its answer holds a part of a batch")
        try:
            while batches.has_next():
                batch = batches.next_batch()
                position = max(position, batch.next_offset)
                found += [each for at, each in self._records(batch) if at >= begin]
        except Exception:
            raise Lost("it sends malformed batches") from None
        return position

    def _records(self, batch: _Batch) -> list[tuple[int, Record]]:
        # A few compressed bytes may be many gigabytes.
        if batch.magic < _MAGIC or not batch.validate_crc() or batch.attributes & _COMPRESSION:
            self.skipped += 1
            return []
        if batch.is_control_batch:
            return []
        return [(each.offset, Record(each.key, each.value, each.timestamp)) for each in batch]


def encode(key: bytes, values: Sequence[bytes]) -> bytes:
    """Return a batch with a record for each value."""
    builder = DefaultRecordBatchBuilder(_MAGIC, 0, 0, -1, -1, -1, 2**31 - 1)
    for place, value in enumerate(values):
        builder.append(place, None, key, value, [])
    return bytes(builder.build())


def partition_of(key: bytes, count: int) -> int:
    """Return the partition that clients of Kafka pick for a key, as the place among C{count} partitions."""
    return int(murmur2(key) & 0x7FFFFFFF) % count
