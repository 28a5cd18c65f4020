"""Agents in little memory."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from struct import Struct
from struct import error as StructError

from attrs import evolve

from confd.model import Tag
from confd.reports import AgentRecord, Report, ReportState, Timings

#: Different values of a kind that agents share; other agents with the same value have a copy.
MAX_SHARED = 4096

#: In the place of the last use of a token: some time before the load of the fleet.
BEFORE_LOAD = float("-inf")

_EPOCH, _MICROSECOND = datetime(1970, 1, 1, tzinfo=UTC), timedelta(microseconds=1)

#: In the place of a time that is not known, and of a duration that is not known.
_NEVER, _UNKNOWN = -(2**63), float("nan")

#: The last poll, the registration and the report, in microseconds since 1970; the number; bytes of the token, of the
#: host name, of the address of metrics and of the session; the sequence of the report.
_HEAD, _POLL, _NUMBER = Struct("<qqqIBHHHQ"), Struct("<q"), Struct("<I")

#: Where the token begins, and where the head has the number and the length of the token.
_TOKEN, _NUMBER_AT, _TOKEN_LENGTH = _HEAD.size, 24, 28

#: The durations of the report, where it has any.
_SPENT = Struct("<ddd")

_NO_TIMINGS = Timings()


class CompactAgent:
    """
    An agent in a fifth of the memory of an L{AgentRecord}: texts and reports that are equal among agents are shared,
    and the other values are packed.

    @ivar token_used: when its present token was used last, in seconds of the monotonic clock, or L{BEFORE_LOAD};
        C{None} for never.
    """

    __slots__ = ("_labels", "_packed", "_report", "_said", "id", "token_used")

    def __init__(self, record: AgentRecord, number: int = 0) -> None:
        """
        @param number: see L{Members}.
        """
        self.id = record.id
        self._said = _shared_texts(record.namespace, record.metadata, record.strategy)
        self._labels = record.labels_set
        self.token_used: float | None = None
        texts = record.token, _encode(record.hostname), _encode(record.advertise)
        head = _moment(record.last_poll), _moment(record.registered_at), number, *map(len, texts)
        self._report, self._packed = _pack(head, b"".join(texts), record.report, record.reported_at)

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
        return bool(_HEAD.unpack_from(self._packed)[6])

    @property
    def token(self) -> bytes:
        """Return the digest of the token; empty without a token."""
        return self._packed[_TOKEN : _TOKEN + self._packed[_TOKEN_LENGTH]]

    @property
    def report(self) -> Report | None:
        """Return the last report; its session, sequence and durations may be missing."""
        return self._report

    @property
    def reported_at(self) -> datetime | None:
        """Return the time of the last report."""
        return _time(_HEAD.unpack_from(self._packed)[2])

    @property
    def session(self) -> str:
        """Return the session of the last report; empty without a report or a session."""
        _, _, _, _, *lengths, session, _ = _HEAD.unpack_from(self._packed)
        start = _TOKEN + sum(lengths)
        packed = self._packed[start : start + session].decode(errors="surrogatepass")
        return packed or ("" if self._report is None else self._report.session)

    def reported(self, report: Report, at: datetime) -> None:
        """Put a report in the place of the last one."""
        last_poll, registered, _, number, *lengths, _, _ = _HEAD.unpack_from(self._packed)
        texts = self._packed[_TOKEN : _TOKEN + sum(lengths)]
        self._report, self._packed = _pack((last_poll, registered, number, *lengths), texts, report, at)

    def polled(self, at: datetime) -> None:
        """Note a poll; a wall clock that goes back changes nothing."""
        moment = (at - _EPOCH) // _MICROSECOND
        if moment > _POLL.unpack_from(self._packed)[0]:
            self._packed = _POLL.pack(moment) + self._packed[8:]

    def record(self) -> AgentRecord:
        """Return the agent in full."""
        packed, (namespace, metadata, strategy) = self._packed, self._said
        last_poll, registered, reported, _, token, *lengths, sequence = _HEAD.unpack_from(packed)
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
            self._labels,
            advertise,
        )


def _pack(
    head: tuple[int, ...], texts: bytes, report: Report | None, reported_at: datetime | None
) -> tuple[Report | None, bytes]:
    """
    Return the part of a report that agents share, and all values of an agent that they do not share.

    @param head: the last poll, the registration and the number; bytes of the token, of the host name and of the address
        of metrics.
    @param texts: these three.
    """
    last_poll, registered, *rest = head
    moment = _moment(reported_at)
    if report is None:
        return None, _HEAD.pack(last_poll, registered, moment, *rest, 0, 0) + texts
    session = _encode(report.session)
    try:
        packed = _HEAD.pack(last_poll, registered, moment, *rest, len(session), report.sequence)
    except StructError:
        # A sequence beyond 64 bits.
        return report, _HEAD.pack(last_poll, registered, moment, *rest, 0, 0) + texts
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
def _shared_texts(namespace: str, metadata: str, strategy: str) -> tuple[str, str, str]:
    return namespace, metadata, strategy


@lru_cache(MAX_SHARED)
def _shared_report(
    tag: Tag, state: ReportState, error: str, verified: bool, holds: Tag | None, cluster_id: str, repairs: int
) -> Report:
    return Report(tag, state, error, verified, holds, cluster_id, repairs)
