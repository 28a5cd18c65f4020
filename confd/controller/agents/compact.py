"""Agents in little memory."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from struct import Struct
from struct import error as StructError

import msgspec
from attrs import evolve

from confd.codec.labels import NO_LABELS
from confd.model import Tag
from confd.reports import AgentRecord, Report, ReportState, Timings

#: Different values of a kind that agents share; other agents with the same value have a copy.
MAX_SHARED = 4096

#: In the place of the last use of a token: some time before the load of the fleet, and no time.
BEFORE_LOAD, _UNUSED = float("-inf"), float("nan")

_EPOCH, _MICROSECOND = datetime(1970, 1, 1, tzinfo=UTC), timedelta(microseconds=1)

#: In the place of a time that is not known, and of a duration that is not known.
_NEVER, _UNKNOWN = -(2**63), float("nan")

#: The last poll in microseconds since 1970; the last use of the token; the registration and the report in microseconds;
#: the number; bytes of the token, of the host name, of the address of metrics and of the session; the sequence of the
#: report.
_HEAD, _POLL, _NUMBER = Struct("<qdqqIBHHHQ"), Struct("<qd"), Struct("<I")

#: Where the token begins, and where the head has the number and the length of the token.
_TOKEN, _NUMBER_AT, _TOKEN_LENGTH = _HEAD.size, 32, 36

#: The durations of the report, where it has any.
_SPENT = Struct("<ddd")

_NO_TIMINGS = Timings()


class CompactAgent(msgspec.Struct, gc=False, eq=False):
    """
    An agent in a fifth of the memory of an L{AgentRecord}: texts and reports that are equal among agents are shared,
    and the other values are packed. The garbage collector passes it by: it is in no cycle.
    """

    id: str
    #: The namespace, the metadata, the strategy, and the labels that operators set.
    _said: tuple[str, str, str, Mapping[str, str]]
    _report: Report | None
    _packed: bytes

    @classmethod
    def of(cls, record: AgentRecord, number: int = 0, token_used: float | None = None) -> CompactAgent:
        """
        Return an agent in little memory.

        @param number: see L{Members}.
        @param token_used: see L{token_used}.
        """
        said = _shared_texts(record.namespace, record.metadata, record.strategy)
        texts = record.token, _encode(record.hostname), _encode(record.advertise)
        used = _UNUSED if token_used is None else token_used
        head = _moment(record.last_poll), used, _moment(record.registered_at), number, *map(len, texts)
        report, packed = _pack(head, b"".join(texts), record.report, record.reported_at)
        return cls(record.id, (*said[:3], record.labels_set) if record.labels_set else said, report, packed)

    @property
    def namespace(self) -> str:
        return self._said[0]

    @property
    def number(self) -> int:
        """Return the number of the agent among those of its namespace."""
        number: int = _NUMBER.unpack_from(self._packed, _NUMBER_AT)[0]
        return number

    @property
    def advertises(self) -> bool:
        """Return whether the agent says where its metrics are."""
        return bool(_HEAD.unpack_from(self._packed)[7])

    @property
    def token(self) -> bytes:
        """Return the digest of the token; empty without a token."""
        return self._packed[_TOKEN : _TOKEN + self._packed[_TOKEN_LENGTH]]

    @property
    def token_used(self) -> float | None:
        """
        Return when the present token was used last, in seconds of the monotonic clock, or L{BEFORE_LOAD}; C{None} for
        never.
        """
        return _known(_POLL.unpack_from(self._packed)[1])

    @property
    def report(self) -> Report | None:
        """Return the last report; its session, sequence and durations may be missing."""
        return self._report

    @property
    def reported_at(self) -> datetime | None:
        """Return the time of the last report."""
        return _time(_HEAD.unpack_from(self._packed)[3])

    @property
    def session(self) -> str:
        """Return the session of the last report; empty without a report or a session."""
        _, _, _, _, _, *lengths, session, _ = _HEAD.unpack_from(self._packed)
        start = _TOKEN + sum(lengths)
        packed = self._packed[start : start + session].decode(errors="surrogatepass")
        return packed or ("" if self._report is None else self._report.session)

    def with_report(self, report: Report, at: datetime) -> CompactAgent:
        """Return the agent with a report in the place of the last one; threads may read the agent as it was."""
        last_poll, used, registered, _, number, *lengths, _, _ = _HEAD.unpack_from(self._packed)
        texts = self._packed[_TOKEN : _TOKEN + sum(lengths)]
        shared, packed = _pack((last_poll, used, registered, number, *lengths), texts, report, at)
        return CompactAgent(self.id, self._said, shared, packed)

    def polled(self, at: datetime, token_used: float | None = None) -> None:
        """
        Note a poll; a wall clock that goes back changes nothing.

        @param token_used: when it used its token, see L{token_used}; C{None} if it did not.
        """
        packed, moment = self._packed, (at - _EPOCH) // _MICROSECOND
        last_poll, used = _POLL.unpack_from(packed)
        polled = _POLL.pack(moment if moment > last_poll else last_poll, used if token_used is None else token_used)
        self._packed = polled + packed[_POLL.size :]

    def used_token(self, at: float | None) -> None:
        """Set L{token_used}."""
        used = _POLL.pack(_POLL.unpack_from(self._packed)[0], _UNUSED if at is None else at)
        self._packed = used + self._packed[_POLL.size :]

    def record(self) -> AgentRecord:
        """Return the agent in full."""
        packed, (namespace, metadata, strategy, labels) = self._packed, self._said
        last_poll, _, registered, reported, _, token, *lengths, sequence = _HEAD.unpack_from(packed)
        texts, start = [], _TOKEN + token
        for length in lengths:
            texts.append(packed[start : start + length].decode(errors="surrogatepass"))
            start += length
        hostname, advertise, session = texts
        report = self._report
        if report is not None and (session or sequence or len(packed) > start):
            spent = Timings(*map(_known, _SPENT.unpack_from(packed, start))) if len(packed) > start else _NO_TIMINGS
            report = evolve(report, session=session, sequence=sequence, spent=spent)
        return AgentRecord(
            self.id,
            namespace,
            hostname,
            metadata,
            strategy,
            _EPOCH + timedelta(microseconds=registered),
            _time(last_poll),
            report,
            _time(reported),
            self.token,
            labels,
            advertise,
        )


def _pack(
    head: tuple[float, ...], texts: bytes, report: Report | None, reported_at: datetime | None
) -> tuple[Report | None, bytes]:
    """
    Return the part of a report that agents share, and all values of an agent that they do not share.

    @param head: the last poll, the last use of the token, the registration and the number; bytes of the token, of the
        host name and of the address of metrics.
    @param texts: these three.
    """
    last_poll, used, registered, *rest = head
    moment = _moment(reported_at)
    if report is None:
        return None, _HEAD.pack(last_poll, used, registered, moment, *rest, 0, 0) + texts
    session = _encode(report.session)
    try:
        packed = _HEAD.pack(last_poll, used, registered, moment, *rest, len(session), report.sequence)
    except StructError:
        # A sequence beyond 64 bits.
        return report, _HEAD.pack(last_poll, used, registered, moment, *rest, 0, 0) + texts
    shared = _shared_report(
        report.tag,
        report.state,
        report.error,
        report.verified,
        report.holds,
        report.holds_cluster_id,
        report.repairs,
    )
    return shared, b"".join((packed, texts, session, _durations(report.spent)))


def _durations(spent: Timings) -> bytes:
    """Return durations in bytes; none if none is known."""
    agent, worker, waited = spent.agent, spent.worker, spent.waited
    if agent is None and worker is None and waited is None:
        return b""
    return _SPENT.pack(
        _UNKNOWN if agent is None else agent,
        _UNKNOWN if worker is None else worker,
        _UNKNOWN if waited is None else waited,
    )


def _encode(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass") if text else b""


def _moment(at: datetime | None) -> int:
    return _NEVER if at is None else (at - _EPOCH) // _MICROSECOND


def _time(moment: int) -> datetime | None:
    return None if moment == _NEVER else _EPOCH + timedelta(microseconds=moment)


def _known(ms: float) -> float | None:
    return ms if ms == ms else None


@lru_cache(MAX_SHARED)
def _shared_texts(namespace: str, metadata: str, strategy: str) -> tuple[str, str, str, Mapping[str, str]]:
    return namespace, metadata, strategy, NO_LABELS


@lru_cache(MAX_SHARED)
def _shared_report(
    tag: Tag, state: ReportState, error: str, verified: bool, holds: Tag | None, cluster_id: str, repairs: int
) -> Report:
    return Report(tag, state, error, verified, holds, cluster_id, repairs)
