"""The applied document over HTTP, with a wait for the next one."""

from __future__ import annotations

from functools import partial
from typing import Annotated

import msgspec
from twisted.application.service import Service
from twisted.internet.interfaces import IReactorTime

from confd.agent.local_api.applied import NOT_APPLIED, AppliedDocument, headers_of, matches
from confd.codec import strict_json
from confd.codec.values import FormatError, resolve, valid_pointer
from confd.errors import Malformed, NotFound, Unavailable
from confd.runtime.waiters import Waiters
from confd.web.api.endpoint import Answer, Call, endpoint
from confd.web.auth.principals import POLL
from confd.web.openapi.docs import CONFIG_VERSION, ETAG, IF_NONE_MATCH, Docs

#: Requests that may wait for the next document at a time.
MAX_WAITING = 64


class ConfigQuery(msgspec.Struct, forbid_unknown_fields=True):
    """
    The query of C{/config}.

    @ivar pointer: JSON pointer of a part of the document; empty for the whole document.
    @ivar wait: seconds to wait for a tag other than C{If-None-Match}.
    """

    pointer: str = ""
    wait: Annotated[int, msgspec.Meta(ge=1, le=60)] | None = None


class ConfigApi(Service):
    """C{/config}; as a service, it answers all waiting requests when it stops."""

    def __init__(self, clock: IReactorTime, document: AppliedDocument) -> None:
        self._document = document
        self._waiters = Waiters(clock)

    def stopService(self) -> None:
        super().stopService()
        self._waiters.give_up()

    def changed(self) -> None:
        """Answer the waiting requests that have another tag; call this after each applied configuration."""
        self._waiters.look()

    @endpoint(
        "GET",
        "/config",
        POLL,
        "The applied document, or the part of it that a JSON pointer names.",
        query=ConfigQuery,
        docs=Docs(
            {200: object, 304: None},
            (NotFound, Unavailable),
            takes=(IF_NONE_MATCH,),
            gives=(ETAG, CONFIG_VERSION),
            tag="configurations",
        ),
    )
    async def config(self, call: Call) -> Answer:
        """
        Answer at once, or after a change if the caller has the document and waits.

        @raise NotFound: C{not_applied} or C{no_such_pointer}.
        @raise Unavailable: C{too_many_waiting}.
        """
        pointer, known = call.query.pointer, call.header("If-None-Match")
        if not valid_pointer(pointer):
            fault = "must be a JSON pointer such as /database/host"
            raise Malformed("bad_field", f"pointer: {fault}.", [{"pointer": "/pointer", "message": fault}])
        if known is not None and call.query.wait is not None:
            await self._wait(known, call.query.wait)
        configuration = self._document.configuration
        if configuration is None:
            raise NotFound("not_applied", NOT_APPLIED)
        headers = headers_of(configuration)
        if matches(known, configuration):
            return Answer(status=304, headers=headers)
        body = configuration.document.raw
        if pointer:
            body = await self._document.render(configuration, partial(_part, pointer))
        return Answer(body, headers=headers)

    async def _wait(self, known: str, seconds: int) -> None:
        """Wait until the applied document has another tag than C{known}, or until the time is over."""

        def reached() -> bool | None:
            configuration = self._document.configuration
            return None if configuration is None or matches(known, configuration) else True

        if reached() or not self.running:
            return
        if len(self._waiters) >= MAX_WAITING:
            raise Unavailable(
                "too_many_waiting", f"{MAX_WAITING} requests wait already; try again later, or without wait."
            )
        await self._waiters.wait(reached, seconds)


def _part(pointer: str, document: object) -> bytes:
    try:
        return strict_json.encode(resolve(document, pointer))
    except FormatError:
        raise NotFound("no_such_pointer", f"The applied document has nothing at {pointer!r}.") from None
