"""The current configuration of the worker."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime

from attrs import define, field, frozen
from zope.interface import implementer

from confd.errors import Conflict, Malformed, NotFound, Unavailable, Unprocessable
from confd.interfaces import IHealth
from confd.model import Document, Tag, Verdict, judge
from confd.runtime.addresses import fetchable


@frozen
class AppliedConfig:
    """
    A valid configuration.

    @ivar url: of the document, in the form that requests use.
    @ivar tag: from the agent; C{None} from an agent of the Go system, which sends none.
    """

    url: str
    document: Document
    tag: Tag | None
    applied_at: datetime

    @property
    def version(self) -> str | None:
        return None if self.tag is None else str(self.tag)


@implementer(IHealth)
@define(eq=False)
class CurrentConfig:
    """
    Holds the current configuration, and decides which one may replace it.

    @ivar now: the wall clock, for people.
    @ivar applied: how many configurations were applied.
    """

    _now: Callable[[], datetime]
    _config: AppliedConfig | None = field(default=None, init=False)
    applied: int = field(default=0, init=False)

    @property
    def config(self) -> AppliedConfig | None:
        """The current configuration; C{None} before the first."""
        return self._config

    def get(self) -> AppliedConfig:
        """
        Return the current configuration, to show it.

        @raise NotFound: the worker has none yet.
        """
        if self._config is None:
            raise NotFound("no_config", "This worker has no configuration yet.")
        return self._config

    def problem(self) -> str | None:
        return None if self._config else "The worker has no configuration yet."

    def require(self) -> AppliedConfig:
        """
        Return the current configuration, to use it.

        @raise Unavailable: the worker has none yet.
        """
        if self._config is None:
            raise Unavailable("no_config", "This worker has no configuration yet; its agent will send one.")
        return self._config

    def put(self, value: Mapping[str, object], document: Document, version: str | None) -> None:
        """
        Replace the current configuration.

        The agent decides which cluster the machine follows. Within one, an older version never replaces a newer one.

        @param document: the document whose decoded form is C{value}.
        @param version: the tag, if it came with one.
        @raise Unprocessable: the configuration cannot be used.
        @raise Conflict: the current configuration is newer, or has the same tag and another content.
        @raise Malformed: C{version} is not a tag.
        """
        tag = _tag(version)
        url = _url(value)
        current = self._config
        if tag is not None and current is not None and current.tag is not None:
            verdict = judge(tag, document.checksum, current.tag, current.document.checksum)
            if verdict is Verdict.SAME:
                return
            if verdict is Verdict.OLDER:
                raise Conflict("older_version", f"Version {current.tag} is current; {tag} is older.")
            if verdict is Verdict.FORKED:
                raise Conflict("other_content", f"Version {tag} is current with another content.")
        self._config = AppliedConfig(url, document, tag, self._now())
        self.applied += 1


def _tag(version: str | None) -> Tag | None:
    if version is None:
        return None
    try:
        return Tag.parse(version)
    except ValueError as error:
        raise Malformed("bad_version", f"X-Config-Version: {error}.") from None


def _url(value: Mapping[str, object]) -> str:
    try:
        return fetchable(value.get("url"))
    except ValueError as error:
        sentence = f"url {error}"
        details = [{"pointer": "/url", "message": sentence}]
        raise Unprocessable("unusable_config", f"The worker cannot use this: {sentence}.", details) from None
