"""The configuration that the worker does its work by."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from attrs import define, field, frozen
from zope.interface import implementer

from confd.errors import Conflict, Malformed, NotFound, Unavailable, Unprocessable
from confd.interfaces import IHealth
from confd.model import Document, Tag, Verdict, judge
from confd.runtime.addresses import fetchable


@frozen
class CurrentConfig:
    """
    A configuration that was found usable.

    @ivar url: in the form in which it is fetched.
    @ivar tag: the version as the agent named it; C{None} for the Go agent, which names none.
    """

    url: str
    document: Document
    tag: Tag | None
    applied_at: datetime

    @property
    def version(self) -> str | None:
        """The tag as text."""
        return None if self.tag is None else str(self.tag)


@implementer(IHealth)
@define(eq=False)
class AppliedConfig:
    """
    Holds the target, and decides what may take its place.

    @ivar now: the wall clock, for people.
    @ivar applied: configurations that were taken over so far.
    """

    _now: Callable[[], datetime]
    _target: CurrentConfig | None = field(default=None, init=False)
    applied: int = field(default=0, init=False)

    @property
    def target(self) -> CurrentConfig | None:
        """The target, or C{None} before the first."""
        return self._target

    def get(self) -> CurrentConfig:
        """
        The target, for those who ask what it is.

        @raise NotFound: before the first.
        """
        if self._target is None:
            raise NotFound("no_config", "This worker has no configuration yet.")
        return self._target

    def problem(self) -> str | None:
        """That there is nothing to do yet."""
        return None if self._target else "The worker has no configuration yet."

    def require(self) -> CurrentConfig:
        """
        The target, for those who need it done.

        @raise Unavailable: before the first.
        """
        if self._target is None:
            raise Unavailable("no_config", "This worker has no configuration yet; its agent will bring one.")
        return self._target

    def put(self, value: Mapping[str, Any], document: Document, version: str | None) -> None:
        """
        Take a configuration over.

        Which cluster a machine follows is for its agent to decide; inside one, an older version never replaces a newer.

        @param document: what C{value} is as bytes.
        @param version: the tag that came with it, if one did.
        @raise Unprocessable: it cannot be used; the old one stays.
        @raise Conflict: a newer one, or another one of the same name, is in force.
        @raise Malformed: C{version} is not a tag.
        """
        tag = _tag(version)
        url = _url(value)
        known = self._target
        if tag is not None and known is not None and known.tag is not None:
            verdict = judge(tag, document.checksum, known.tag, known.document.checksum)
            if verdict is Verdict.SAME:
                return
            if verdict is Verdict.OLDER:
                raise Conflict("older_version", f"Version {known.tag} is in force; {tag} is older.")
            if verdict is Verdict.FORKED:
                raise Conflict("other_content", f"Version {tag} is in force with another content.")
        self._target = CurrentConfig(url, document, tag, self._now())
        self.applied += 1


def _tag(version: str | None) -> Tag | None:
    if version is None:
        return None
    try:
        return Tag.parse(version)
    except ValueError as error:
        raise Malformed("bad_version", f"X-Config-Version: {error}.") from None


def _url(value: Mapping[str, Any]) -> str:
    try:
        return fetchable(value.get("url"))
    except ValueError as error:
        sentence = f"url {error}"
        details = [{"pointer": "/url", "message": sentence}]
        raise Unprocessable("unusable_config", f"The worker cannot use this: {sentence}.", details) from None
