"""Work on documents that takes its time; where they are large, off the reactor."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from attrs import define
from twisted.internet.defer import Deferred

from confd.codec import strict_json
from confd.controller.configs.diff import Difference, difference
from confd.model import Configuration, Document

#: Bytes from which a document is large.
LARGE_BYTES = 8192


@define(eq=False)
class Offload:
    """
    Reads and compares documents.

    @ivar in_thread: runs a function off the reactor, like C{deferToThread}.
    """

    _in_thread: Callable[..., Deferred[Any]]

    async def decode(self, document: Document) -> dict[str, Any]:
        """What it is made of."""
        value: dict[str, Any] = await self._do(len(document.raw), strict_json.decode, document.raw)
        return value

    async def make(self, value: dict[str, Any], size: int) -> Document:
        """
        Return the document that a value makes.

        @param size: bytes of the request body that the value came in.
        @raise Unprocessable: see L{jsontext.document}.
        """
        document: Document = await self._do(size, strict_json.document, value)
        return document

    async def compare(self, old: Configuration, new: Configuration) -> Difference:
        """See L{difference}."""
        size = len(old.document.raw) + len(new.document.raw)
        found: Difference = await self._do(size, difference, old, new)
        return found

    async def _do(self, size: int, work: Callable[..., Any], *arguments: object) -> Any:
        return work(*arguments) if size < LARGE_BYTES else await self._in_thread(work, *arguments)
