"""Endpoints of freezes."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import datetime, time, timedelta
from typing import Annotated, TypedDict
from zoneinfo import ZoneInfo

import msgspec
from attrs import define

from confd.access.freezes import DAYS, Freeze, Weekly, Window, text_of, unknown_freeze
from confd.access.patterns import overlaps, reaches
from confd.codec.headers import parse_rfc3339, rfc3339
from confd.codec.strict_json import JsonObject, encode
from confd.controller.access.freezes import Freezes
from confd.controller.access.grants import check_patterns
from confd.controller.feed import Feed
from confd.errors import NotFound, Unavailable, Unprocessable
from confd.web.api.endpoint import Answer, Call, Scope, endpoint
from confd.web.auth.principals import Permission, Principal, forbidden
from confd.web.openapi.docs import Docs, MessageBody, Moment

#: The longest freeze that happens once, in days.
MAX_DAYS = 366

_TIME = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])")

_TAG = "access"


class WeeklyRequest(msgspec.Struct, forbid_unknown_fields=True, rename={"from_": "from"}):
    """When a weekly freeze begins and ends, by the wall clock of an IANA time zone: days, C{HH:MM}, C{HH:MM}, zone."""

    days: list[str]
    from_: str
    until: str
    zone: str


class NewFreeze(msgspec.Struct, forbid_unknown_fields=True, rename={"from_": "from"}):
    """
    A freeze to make: from a moment until another one, in RFC 3339, or each week. Without C{from} it begins at once.
    """

    namespaces: list[str]
    reason: Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
    from_: Annotated[str, msgspec.Meta(max_length=64)] | None = None
    until: Annotated[str, msgspec.Meta(max_length=64)] | None = None
    weekly: WeeklyRequest | None = None


class FreezeItem(TypedDict):
    """
    A freeze. C{next_from} and C{next_until} are the present window, or the next one, in UTC, and C{local} has both by
    the wall clock of the zone.
    """

    id: int
    namespaces: list[str]
    reason: str
    created_by: str
    created_at: Moment
    weekly: JsonObject | None
    active: bool
    next_from: Moment | None
    next_until: Moment | None
    local: dict[str, str] | None


class FreezesBody(TypedDict):
    """Freezes by id."""

    items: list[FreezeItem]


@define(eq=False)
class FreezesApi:
    """Shows and changes freezes."""

    _freezes: Freezes
    _feed: Feed

    @endpoint(
        "GET",
        "/api/v1/freezes",
        Permission.CHANGES_READ,
        "The freezes.",
        scope=Scope.ANY,
        docs=Docs(errors=(Unavailable,), tag=_TAG),
    )
    async def list_freezes(self, call: Call) -> FreezesBody:
        """List the freezes that touch a namespace of the caller, without freezes that are over."""
        patterns = call.principal.patterns(Permission.CHANGES_READ)
        now = self._freezes.now()
        return {"items": [freeze_item(each, now) for each in self._freezes.all() if _touches(each, patterns)]}

    @endpoint(
        "POST",
        "/api/v1/freezes",
        Permission.FREEZE_WRITE,
        "Make a freeze.",
        body=NewFreeze,
        scope=Scope.ANY,
        docs=Docs(
            {201: FreezeItem},
            (Unprocessable,),
            example={
                "namespaces": ["pay-*"],
                "weekly": {"days": ["fri", "sat"], "from": "16:00", "until": "08:00", "zone": "Europe/Berlin"},
                "reason": "no changes at weekends",
            },
            tag=_TAG,
        ),
    )
    async def add_freeze(self, call: Call) -> Answer:
        """
        Make a freeze: while it is active, its namespaces get no new version, and open rollouts stay in their wave. An
        abort, and a rollback to the version before, always work.
        """
        wanted: NewFreeze = call.body
        check_patterns("/namespaces", wanted.namespaces, "bad_freeze")
        if not wanted.reason.isprintable():
            raise _bad("reason", "A reason has printable characters only.")
        _require(call.principal, wanted.namespaces)
        active = self._window(wanted) if wanted.weekly is None else _weekly(wanted, wanted.weekly)
        assert call.attempt is not None
        names = list(dict.fromkeys(wanted.namespaces))
        made = await self._feed.follow(self._freezes.add(names, wanted.reason, active, call.attempt))
        return Answer(encode(freeze_item(made, self._freezes.now())), 201)

    @endpoint(
        "DELETE",
        "/api/v1/freezes/<int:number>",
        Permission.FREEZE_WRITE,
        "Remove a freeze.",
        scope=Scope.ANY,
        docs=Docs(errors=(NotFound,), tag=_TAG),
    )
    async def remove_freeze(self, call: Call, number: int) -> MessageBody:
        """Remove a freeze; changes are possible at once, and rollouts go on."""
        freeze = self._freezes.get(number)
        patterns = [each for grant in call.principal.grants for each in grant.namespaces]
        if freeze is None or not _touches(freeze, patterns):
            raise unknown_freeze(number)
        _require(call.principal, freeze.namespaces)
        assert call.attempt is not None
        await self._feed.follow(self._freezes.remove(number, call.attempt))
        return MessageBody(f"Freeze {number} is removed")

    def _window(self, wanted: NewFreeze) -> Window:
        if wanted.until is None:
            raise _bad("until", "Give until, and perhaps from; or give weekly.")
        end = _moment("until", wanted.until)
        begin = self._freezes.now() if wanted.from_ is None else _moment("from", wanted.from_)
        if not timedelta() < end - begin <= timedelta(days=MAX_DAYS):
            raise _bad("until", f"A freeze ends after it begins, and within {MAX_DAYS} days.")
        return Window(begin, end)


def freeze_item(freeze: Freeze, now: datetime) -> FreezeItem:
    """Return a freeze as the API shows it."""
    window, weekly = freeze.window(now), freeze.weekly
    local = None
    if weekly is not None and window is not None:
        zone = ZoneInfo(weekly.zone)
        local = {
            "next_from": window.begin.astimezone(zone).isoformat(timespec="seconds"),
            "next_until": window.end.astimezone(zone).isoformat(timespec="seconds"),
            "zone": weekly.zone,
        }
    return {
        "id": freeze.id,
        "namespaces": list(freeze.namespaces),
        "reason": freeze.reason,
        "created_by": freeze.created_by,
        "created_at": rfc3339(freeze.created_at),
        "weekly": None if weekly is None else _weekly_item(weekly),
        "active": window is not None and window.begin <= now,
        "next_from": None if window is None else text_of(window.begin),
        "next_until": None if window is None else text_of(window.end),
        "local": local,
    }


def _weekly_item(weekly: Weekly) -> JsonObject:
    return {
        "days": [DAYS[each] for each in weekly.days],
        "from": weekly.start.strftime("%H:%M"),
        "until": weekly.end.strftime("%H:%M"),
        "zone": weekly.zone,
    }


def _weekly(wanted: NewFreeze, weekly: WeeklyRequest) -> Weekly:
    if wanted.from_ is not None or wanted.until is not None:
        raise _bad("weekly", "Give either weekly, or from and until.")
    days = sorted({DAYS.index(each) for each in weekly.days if each in DAYS})
    if not days or any(each not in DAYS for each in weekly.days):
        raise _bad("weekly/days", f"Give one or more of the days {', '.join(DAYS)}.")
    try:
        ZoneInfo(weekly.zone)
    except (ValueError, OSError, LookupError):
        raise _bad("weekly/zone", f"{weekly.zone[:64]!r} is no IANA time zone, such as Europe/Berlin.") from None
    return Weekly(tuple(days), _time("from", weekly.from_), _time("until", weekly.until), weekly.zone)


def _time(name: str, text: str) -> time:
    found = _TIME.fullmatch(text)
    if found is None:
        raise _bad(f"weekly/{name}", f"{text[:16]!r} is no time of day; write HH:MM.")
    return time(int(found[1]), int(found[2]))


def _moment(name: str, text: str) -> datetime:
    try:
        return parse_rfc3339(text)
    except ValueError:
        raise _bad(name, f"{text[:64]!r} is no time of RFC 3339, such as 2026-12-24T08:00:00+01:00.") from None


def _touches(freeze: Freeze, patterns: Iterable[str]) -> bool:
    """Return whether a freeze and some patterns have a namespace in common."""
    granted = list(patterns)
    return any(overlaps(each, other) for each in freeze.namespaces for other in granted)


def _require(principal: Principal, namespaces: Iterable[str]) -> None:
    """
    Check that a caller may freeze every namespace that a freeze matches.

    @raise Forbidden: C{forbidden}.
    """
    granted = principal.patterns(Permission.FREEZE_WRITE)
    for each in namespaces:
        if not any(reaches(pattern, each) for pattern in granted):
            raise forbidden(principal, (Permission.FREEZE_WRITE,), each)


def _bad(name: str, sentence: str) -> Unprocessable:
    return Unprocessable("bad_freeze", sentence, [{"pointer": f"/{name}", "message": sentence}])
