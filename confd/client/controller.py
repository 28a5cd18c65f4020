"""The client of the controllers."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar, Unpack

from attrs import evolve
from twisted.internet.defer import Deferred
from zope.interface import implementer

from confd.client.http import Http, RequestOptions
from confd.client.response import Response, refused_credentials
from confd.codec import bodies
from confd.codec.headers import basic_authorization, etag
from confd.errors import ConfdError, Malformed, Unauthenticated, Unavailable
from confd.interfaces import IControllerClient
from confd.model import DEFAULT_NAMESPACE, Poll, Registration, RegistrationResponse, Tag
from confd.reports import Report, report_body
from confd.runtime.offload import Offload

T = TypeVar("T")


@implementer(IControllerClient)
class ControllerClient:
    """Call the controllers in turn, beginning with the controller that answered last."""

    def __init__(self, http: Http, urls: Sequence[str], offload: Offload, namespace: str = DEFAULT_NAMESPACE) -> None:
        """
        @param urls: of the controllers.
        @param offload: decodes the bodies of responses.
        @param namespace: namespace of the agent.
        """
        self._http, self._offload = http, offload
        self._urls = deque(urls)
        self._namespace = namespace
        # The Go controller has no namespaces, so the default namespace is not sent.
        self._params = {} if namespace == DEFAULT_NAMESPACE else {"namespace": namespace}
        self.present("", "")

    def present(self, agent_id: str, token: str) -> None:
        """Use the token until the controllers refuse it, and again after a registration."""
        self._token = token
        self._own = basic_authorization(agent_id, token) if token else None
        #: Whether the controllers refuse the token.
        self._refused = False

    def register(self, registration: Registration) -> Deferred[RegistrationResponse]:
        body = bodies.registration_body(registration)

        async def parse(answer: Response) -> RegistrationResponse:
            membership = await self._decode(answer, bodies.parse_membership)
            kept = self._token if self._own and not self._refused else ""
            return evolve(membership, token=membership.token or kept)

        return Deferred.fromCoroutine(self._ask("POST", "/api/v1/register", parse, body=body))

    def fetch(self, known: Tag | None, agent_id: str) -> Deferred[Poll]:
        headers = {"X-Agent-ID": agent_id} if agent_id else {}
        if known is not None:
            headers["If-None-Match"] = etag(known)

        async def parse(answer: Response) -> Poll:
            member = answer.header("X-Agent-Known") != "false" and not self._refused
            if answer.status == 304 and known is not None:
                checksum, key_ids = (answer.header(name) or "" for name in ("X-Config-Checksum", "X-Config-Keys"))
                return Poll(None, member, checksum, key_ids)
            served = await self._decode(answer, bodies.parse_served, self._namespace, answer.header("ETag"))
            return Poll(served, member)

        asking = self._ask("GET", "/api/v1/config", parse, headers=headers, params=self._params)
        return Deferred.fromCoroutine(asking)

    def report(self, report: Report, agent_id: str) -> Deferred[float]:
        body = report_body(report, agent_id, self._namespace)
        headers = {"X-Agent-ID": agent_id}

        async def parse(answer: Response) -> float:
            return await self._decode(answer, bodies.parse_report_window)

        return Deferred.fromCoroutine(self._ask("POST", "/api/v1/report", parse, headers=headers, body=body))

    def stream(self, known: Tag | None, agent_id: str, received: Callable[[bytes], object]) -> Deferred[None]:
        headers = {"X-Agent-ID": agent_id} if agent_id else {}
        if known is not None:
            headers["Last-Event-ID"] = str(known)
        return Deferred.fromCoroutine(self._stream(headers, received))

    async def _stream(self, headers: dict[str, str], received: Callable[[bytes], object]) -> None:
        who, url = self._first()
        try:
            shown = self._shown
            try:
                await self._http.stream(who, f"{url}/api/v1/stream", headers, self._params, received, shown)
            except Unauthenticated:
                if not self._fall_back(shown):
                    raise
                await self._http.stream(who, f"{url}/api/v1/stream", headers, self._params, received, self._shown)
        except Unauthenticated:
            raise refused_credentials(who, "CONTROLLER") from None
        except ConfdError:
            self._urls.rotate(-1)
            raise

    async def _decode(self, answer: Response, decode: Callable[..., T], *arguments: object) -> T:
        answer.raise_unless_success()
        return await self._offload.run(len(answer.body), decode, answer.body, *arguments)

    async def _ask(
        self, method: str, path: str, parse: Callable[[Response], Awaitable[T]], **request: Unpack[RequestOptions]
    ) -> T:
        for attempt in range(1, len(self._urls) + 1):
            who, url = self._first()
            try:
                shown = self._shown
                answer = await self._http.call(who, method, url + path, **request, authorization=shown)
                if answer.status == 401 and self._fall_back(shown):
                    answer = await self._http.call(who, method, url + path, **request, authorization=self._shown)
                return await parse(answer)
            except Unauthenticated:
                raise refused_credentials(who, "CONTROLLER") from None
            except (Unavailable, Malformed):
                self._urls.rotate(-1)
                if attempt == len(self._urls):
                    raise
        raise AssertionError("no controller to ask")

    @property
    def _shown(self) -> bytes | None:
        """The credentials to try; C{None} stands for the credentials that all agents share."""
        return None if self._refused else self._own

    def _fall_back(self, shown: bytes | None) -> bool:
        """
        Note that the controller refused credentials; return whether to try the shared credentials at once.

        @param shown: the refused credentials. If they were the shared ones, the next call begins with the token again.
        """
        if shown is None or shown is self._own:
            self._refused = shown is not None
        return shown is not None

    def _first(self) -> tuple[str, str]:
        return f"The controller at {self._urls[0]}", self._urls[0]
