"""Replace an announcement in Redis only by a newer one, so that a slow controller undoes nothing of the others."""

from __future__ import annotations

import re
from typing import TypeAlias, cast

from twisted.internet.defer import Deferred, DeferredList
from twisted.logger import Logger
from twisted.python.failure import Failure

from confd.brokers.link import CommandRefused
from confd.brokers.redis.protocol import RedisConnection, RedisReply

log = Logger()

#: The bytes at both ends of an announcement that hold its version and its epoch.
_HEAD_BYTES, _TAIL_BYTES = 64, 1024

#: Attempts of a transaction while other controllers store announcements of the namespace.
_ATTEMPTS = 10

#: Both are the fields of L{confd.codec.announcement.announce}, in its order.
_HEAD = re.compile(rb'\{"version":"(\d+)"')
_TAIL = re.compile(
    rb'"epoch":(\d+),"cluster_id":"([^"]*)","poll_interval_seconds":\d+,"checksum":"[^"]*","key_id":"[^"]*",'
    rb'"signature":"[^"]*"\}\Z'
)

#: KEYS: the key. ARGV: announcement, channel, cluster, epoch, version. Errors are returned as Redis words them.
_SCRIPT = rf"""
local function part(first, last)
  local found = redis.pcall('GETRANGE', KEYS[1], first, last)
  return type(found) == 'string' and found or ''
end
local version = string.match(part(0, {_HEAD_BYTES - 1}), '^{{"version":"(%d+)"')
local epoch, cluster = string.match(part(-{_TAIL_BYTES}, -1), '"epoch":(%d+),"cluster_id":"([^"]*)",'
  .. '"poll_interval_seconds":%d+,"checksum":"[^"]*","key_id":"[^"]*","signature":"[^"]*"}}$')
if version and cluster == ARGV[3] then
  local epochs, versions = tonumber(epoch) - tonumber(ARGV[4]), tonumber(version) - tonumber(ARGV[5])
  if epochs > 0 or epochs == 0 and versions > 0 then return 0 end
end
local stored = redis.pcall('SET', KEYS[1], ARGV[1])
if stored.err then return stored end
return redis.pcall('PUBLISH', ARGV[2], ARGV[1])
"""

#: Cluster, epoch and version.
_Order: TypeAlias = tuple[bytes, int, int]


async def announce_newer(connection: RedisConnection, key: str, channel: str, announcement: bytes) -> None:
    """
    Store an announcement and publish it, unless a newer one of its cluster is stored.

    Where the server refuses scripts, a transaction does it; where it refuses transactions too, nothing is compared.

    @raise CommandRefused: the server refuses to store or to publish it.
    @raise Lost: the connection was lost.
    """
    order = _order_of(announcement[:_HEAD_BYTES], announcement[-_TAIL_BYTES:])
    if order is None:
        return await announce(connection, key, channel, announcement)
    for way in (_by_script, _by_transaction):
        if way.__name__ not in connection.refused:
            try:
                return await way(connection, key, channel, announcement, order)
            except _NotAllowed as refused:
                connection.refused.add(way.__name__)
                log.info(
                    "REDIS_USERNAME: Redis refuses {command}, with which a slow controller would not store an older"
                    " configuration over a newer one: {reason}",
                    command=refused.command,
                    reason=str(refused),
                )
    await announce(connection, key, channel, announcement)


async def announce(connection: RedisConnection, key: str, channel: str, announcement: bytes) -> None:
    """Store an announcement and publish it; fails as L{announce_newer} does."""
    # The value first: a subscriber may read it as soon as the message arrives.
    await connection.ask("SET", key, announcement)
    await connection.ask("PUBLISH", channel, announcement)


class _NotAllowed(Exception):
    """The server refuses a command to this user."""

    def __init__(self, command: str, refused: CommandRefused) -> None:
        super().__init__(str(refused))
        self.command = command


async def _by_script(connection: RedisConnection, key: str, channel: str, announcement: bytes, order: _Order) -> None:
    await _allowed(connection, "EVAL", _SCRIPT, 1, key, announcement, channel, *order)


async def _by_transaction(
    connection: RedisConnection, key: str, channel: str, announcement: bytes, order: _Order
) -> None:
    # A connection has one transaction at a time.
    work = _store_newer(connection, key, channel, announcement, order)
    await connection.transaction.run(Deferred.fromCoroutine, work)


async def _store_newer(connection: RedisConnection, key: str, channel: str, announcement: bytes, order: _Order) -> None:
    for _ in range(_ATTEMPTS):
        await _allowed(connection, "WATCH", key)
        head = await _allowed(connection, "GETRANGE", key, 0, _HEAD_BYTES - 1)
        tail = await _allowed(connection, "GETRANGE", key, -_TAIL_BYTES, -1)
        there = _order_of(head, tail) if isinstance(head, bytes) and isinstance(tail, bytes) else None
        if there is not None and there[0] == order[0] and there[1:] > order[1:]:
            await _allowed(connection, "UNWATCH")
            return
        # In one flight: a command of another caller must not come between them.
        commands = (("MULTI",), ("SET", key, announcement), ("PUBLISH", channel, announcement), ("EXEC",))
        replies = [Deferred.fromCoroutine(connection.ask(*each)) for each in commands]
        *_, (_, last) = ended = await DeferredList(replies, consumeErrors=True)
        for success, result in ended:
            if not success:
                cast("Failure", result).raiseException()
        if last is not None:
            return
    raise CommandRefused("other controllers announce this namespace all the time")


async def _allowed(connection: RedisConnection, *command: object) -> RedisReply:
    try:
        return await connection.ask(*command)
    except CommandRefused as refused:
        name, words = str(command[0]), str(refused)
        if name.lower() in words.lower() and words.startswith(("NOPERM", "unknown command")):
            raise _NotAllowed(name, refused) from None
        raise


def _order_of(head: bytes, tail: bytes) -> _Order | None:
    """Return what an announcement of this release says at its ends; C{None} for other bytes."""
    first, last = _HEAD.match(head), _TAIL.search(tail)
    return None if first is None or last is None else (last[2], int(last[1]), int(first[1]))
