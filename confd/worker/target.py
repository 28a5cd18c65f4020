"""The configuration that the worker does its work by."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from attrs import define, field, frozen
from zope.interface import implementer

from confd import jsontext
from confd.interfaces import IHealth
from confd.model import Conflict, Document, Malformed, NotFound, Tag, Unavailable, Unprocessable, Verdict, judge

_LONGEST_URL = 2048


@frozen
class Target:
    """
    A configuration that was found usable.

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
class InForce:
    """
    Holds the target, and decides what may take its place.

    @ivar now: the wall clock, for people.
    """

    _now: Callable[[], datetime]
    _target: Target | None = field(default=None, init=False)

    @property
    def target(self) -> Target | None:
        """The target, or C{None} before the first."""
        return self._target

    def get(self) -> Target:
        """
        The target, for those who ask what it is.

        @raise NotFound: before the first.
        """
        if self._target is None:
            raise NotFound("no_config", "This worker has no configuration yet.")
        return self._target

    def trouble(self) -> str | None:
        """That there is nothing to do yet."""
        return None if self._target else "The worker has no configuration yet."

    def require(self) -> Target:
        """
        The target, for those who need it done.

        @raise Unavailable: before the first.
        """
        if self._target is None:
            raise Unavailable("no_config", "This worker has no configuration yet; its agent will bring one.")
        return self._target

    def put(self, value: dict[str, Any], version: str | None) -> None:
        """
        Take a configuration over.

        Which cluster a machine follows is for its agent to decide; inside one, an older version never replaces a newer.

        @param version: the tag that came with it, if one did.
        @raise Unprocessable: it cannot be used; the old one stays.
        @raise Conflict: a newer one, or another one of the same name, is in force.
        @raise Malformed: C{version} is not a tag.
        """
        tag = _tag(version)
        document = jsontext.document(value)
        url = _usable_url(value.get("url"))
        known = self._target
        if tag is not None and known is not None and known.tag is not None:
            verdict = judge(tag, document.checksum, known.tag, known.document.checksum)
            if verdict is Verdict.SAME:
                return
            if verdict is Verdict.OLDER:
                raise Conflict("older_version", f"Version {known.tag} is in force; {tag} is older.")
            if verdict is Verdict.FORKED:
                raise Conflict("other_content", f"Version {tag} is in force with another content.")
        self._target = Target(url, document, tag, self._now())


def _tag(version: str | None) -> Tag | None:
    if version is None:
        return None
    try:
        return Tag.parse(version)
    except ValueError as error:
        raise Malformed("bad_version", f"X-Config-Version: {error}.") from None


def _usable_url(url: object) -> str:
    """
    Let a URL pass that can be fetched.

    @raise Unprocessable: saying what is wrong with it.
    """

    def unusable(reason: str) -> Unprocessable:
        sentence = f"url {reason}"
        return Unprocessable("unusable_config", f"The worker cannot use this: {sentence}.", [_at_url(sentence)])

    if not isinstance(url, str):
        raise unusable("must be a string")
    if len(url) > _LONGEST_URL:
        raise unusable(f"is longer than {_LONGEST_URL} characters")
    if not url.isascii() or any(character <= " " or character == "\x7f" for character in url):
        raise unusable("must be ASCII without spaces and control characters; percent-encode the rest")
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise unusable("is not a URL") from None
    if parts.scheme.lower() not in ("http", "https"):
        raise unusable("must begin with http:// or https://")
    if not host or port == 0:
        raise unusable("must name a host, and a port from 1 to 65535 if any")
    if "@" in parts.netloc:
        raise unusable("must not hold credentials")
    return url


def _at_url(sentence: str) -> dict[str, str]:
    return {"pointer": "/url", "message": sentence}
