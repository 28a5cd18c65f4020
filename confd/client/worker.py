"""The client of the worker."""

from __future__ import annotations

from typing import Unpack

from twisted.internet.defer import Deferred
from zope.interface import implementer

from confd.client.http import Http, RequestOptions
from confd.client.response import Response, refused_credentials
from confd.codec import bodies
from confd.codec.headers import RETURN_REPRESENTATION
from confd.interfaces import IWorkerClient
from confd.model import Configuration, Delivered, WorkerState
from confd.runtime.offload import Offload


@implementer(IWorkerClient)
class WorkerClient:
    """Call the worker of an agent, confd's or the Go system's."""

    def __init__(self, http: Http, url: str, offload: Offload) -> None:
        """
        @param offload: decodes the bodies of answers.
        """
        self._http, self._offload = http, offload
        self._url = url
        self._who = f"The worker at {url}"

    def deliver(self, configuration: Configuration) -> Deferred[Delivered]:
        return Deferred.fromCoroutine(self._deliver(configuration))

    async def _deliver(self, configuration: Configuration) -> Delivered:
        headers = {"X-Config-Version": str(configuration.tag), "Prefer": RETURN_REPRESENTATION}
        answer = await self._call("POST", "/config", headers=headers, body=configuration.document.raw)
        answer.raise_unless_success()
        # Other workers than confd's answer as if they were not asked for the document; it is then read back.
        applied = (answer.header("Preference-Applied") or "").split(",")
        if RETURN_REPRESENTATION not in map(str.strip, applied):
            return Delivered()
        return Delivered(await self._offload.run(len(answer.body), bodies.parse_worker_checksum, answer.body))

    def checksum(self) -> Deferred[str | None]:
        return Deferred.fromCoroutine(self._checksum())

    async def _checksum(self) -> str | None:
        answer = await self._call("GET", "/config")
        if answer.status in (404, 405):
            # confd's worker without a document answers with an error code; the Go worker does not know the path.
            code, _ = answer.error()
            return "" if code else None
        answer.raise_unless_success()
        return await self._offload.run(len(answer.body), bodies.parse_worker_checksum, answer.body)

    def state(self) -> Deferred[WorkerState]:
        return Deferred.fromCoroutine(self._state())

    async def _state(self) -> WorkerState:
        answer = await self._call("GET", "/health")
        answer.raise_unless_success()
        return await self._offload.run(len(answer.body), bodies.parse_worker_state, answer.body)

    async def _call(self, method: str, path: str, **request: Unpack[RequestOptions]) -> Response:
        answer = await self._http.call(self._who, method, self._url + path, **request)
        if answer.status == 401:
            raise refused_credentials(self._who, "WORKER")
        return answer
