"""
The checks of a request before its body: who sends it, where it acts, and whether the caller may.

The head of a request decides most of that, and callers send the same heads again and again. So what the checks found is
kept with a known head, as long as the guard recognizes the caller.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import cast

from attrs import define

from confd.access.break_glass import MAX_REASON
from confd.codec.text import printable
from confd.errors import Malformed
from confd.model import DEFAULT_NAMESPACE
from confd.web.api.endpoint import ANYONE, AnyQuery, Endpoint, NamespaceQuery, Scope
from confd.web.api.parsing import peek, read_query
from confd.web.api.places import IPlaces
from confd.web.auth.basic import IAuthenticator
from confd.web.auth.csrf import same_origin
from confd.web.auth.principals import NOBODY, NOWHERE, POLL, Permission, Place, Principal, allow, allow_somewhere
from confd.web.auth.throttle import source_of
from confd.web.server.request import BoundedRequest

#: Python looks the members of an enumeration up with a function of its own each time.
_QUERY, _TOKEN, _SOMEWHERE = Scope.QUERY, Scope.TOKEN, (Scope.BODY, Scope.ANY)

#: Scopes whose places are looked up in memory or in the store.
_LOOKED_UP = (Scope.AGENT, Scope.ROLLOUT, Scope.CHANGE)


@define(eq=False)
class Admission:
    """
    What the checks of a request have found so far.

    @ivar place: where the request acts; that of L{Scope.BODY} is known once the body is read.
    @ivar query: the query, C{None} if it is invalid.
    @ivar fault: the error of an invalid query: only an authorized caller hears of it.
    @ivar media_type: of the body, C{None} until it was read.
    """

    principal: Principal = NOBODY
    place: Place = NOWHERE
    query: object = None
    fault: Malformed | None = None
    media_type: str | None = None

    @property
    def break_glass(self) -> str:
        """Return the reason for which the call is to pass policies and freezes; empty without one."""
        return printable(getattr(self.query, "break_glass", None) or "", MAX_REASON)


@define(eq=False)
class _Kept:
    """
    The admission of the requests with a known head.

    @ivar recognizes: see L{IAuthenticator.recognizes}.
    @ivar addressed: whether the client has an address, unlike one at a unix socket.
    """

    admission: Admission
    recognizes: Callable[[str], bool]
    addressed: bool


@define(eq=False)
class Gate:
    """
    Admits requests.

    @ivar guard: authenticates callers.
    @ivar places: finds where requests act; C{None} where callers have their permissions in every namespace.
    @ivar check_loaded: called before requests other than polls and open pages; raises L{Unavailable} while these cannot
        be answered.
    """

    _guard: IAuthenticator
    _places: IPlaces | None
    _check_loaded: Callable[[], object]

    async def admit(
        self, request: BoundedRequest, declared: Endpoint, parts: Mapping[str, object], admission: Admission
    ) -> None:
        """
        Make all checks; C{admission} follows them.

        @raise ConfdError: the caller may not send the request.
        """
        admission.query, admission.fault = _query_of(request, declared)
        if declared.needs is not ANYONE:
            looked_up = self._guard.prepare(request)
            if looked_up is not None:
                await looked_up
            principal = admission.principal = self._guard.identify(request)
            request.caller = principal.who
            self.check_loaded(declared)
            if declared.scope in _LOOKED_UP and self._places is not None:
                admission.place = await self._look_up(self._places, declared, parts, admission.query)
            else:
                admission.place = self._place(request, declared, parts, admission.query)
            needed = declared.needed(request.uri, admission.query)
            if needed and not (declared.scope is _TOKEN and parts["token_id"] == principal.token_id):
                if declared.scope in _SOMEWHERE:
                    allow_somewhere(principal, needed)
                else:
                    allow(principal, needed, admission.place)
            if admission.break_glass:
                allow(principal, (Permission.ADMIN,), NOWHERE)
        if not declared.reads:
            same_origin(request)
        if declared.needs is not ANYONE and not parts and admission.fault is None:
            self._keep(request, admission)

    def recall(self, request: BoundedRequest) -> Admission | None:
        """
        Return the admission of earlier requests with the same head; C{None} if the caller may be another one now.

        L{check_loaded} is still to be called.
        """
        kept = None if request.known_head is None else request.known_head.kept
        if kept is None:
            return None
        assert isinstance(kept, _Kept)
        client = request.getClientAddress()
        if kept.addressed != hasattr(client, "host") or not kept.recognizes(source_of(client)):
            return None
        request.caller = kept.admission.principal.who
        return kept.admission

    def check_loaded(self, declared: Endpoint) -> None:
        """
        Check that a request can be answered now.

        @raise Unavailable: memory is not loaded yet.
        """
        if declared.needs is not POLL:
            self._check_loaded()

    def _keep(self, request: BoundedRequest, admission: Admission) -> None:
        if request.known_head is not None:
            addressed = hasattr(request.getClientAddress(), "host")
            request.known_head.kept = _Kept(admission, self._guard.recognizes(request), addressed)

    def may_send(self, request: BoundedRequest, declared: Endpoint, admission: Admission) -> None:
        """
        Check, before its body is read, whether the caller of a request has a permission that the request may need.

        @raise ConfdError: the caller has none.
        """
        admission.principal = self._guard.identify(request)
        if declared.scope in (Scope.CLUSTER, Scope.QUERY):
            query, _ = _query_of(request, declared)
            needed = declared.needed(request.uri, query)
            allow(admission.principal, needed, self._place(request, declared, {}, query))
        elif declared.permissions:
            allow_somewhere(admission.principal, declared.permissions)

    async def _look_up(self, places: IPlaces, declared: Endpoint, parts: Mapping[str, object], query: object) -> Place:
        if declared.scope is Scope.AGENT:
            return await places.agent(getattr(query, "id", "") or str(parts["agent_id"]))
        number = cast(int, parts["number"])
        return await (places.rollout(number) if declared.scope is Scope.ROLLOUT else places.change(number))

    def _place(self, request: BoundedRequest, declared: Endpoint, parts: Mapping[str, object], query: object) -> Place:
        if declared.scope is Scope.NAMESPACE:
            return self.named(str(parts["name"]))
        if declared.scope is not _QUERY:
            return NOWHERE
        if isinstance(query, NamespaceQuery):
            return self.named(query.namespace)
        return self.named(peek(request.uri, "namespace", DEFAULT_NAMESPACE))

    def named(self, namespace: str) -> Place:
        """Return the place of a namespace."""
        return Place(namespace) if self._places is None else self._places.namespace(namespace)


def _query_of(request: BoundedRequest, declared: Endpoint) -> tuple[object, Malformed | None]:
    """Return the query, and C{None} with the error if it is invalid."""
    if declared.query is AnyQuery:
        return AnyQuery(), None
    try:
        return read_query(request.uri, declared.query), None
    except Malformed as error:
        return None, error
