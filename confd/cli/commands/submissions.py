"""Send a change of one namespace: a dry run first, then the publish, whose answer may be lost."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping

from attrs import define, field, frozen

from confd.cli.api_client import tag_of, value_of
from confd.cli.errors import CommandError
from confd.cli.session import Session
from confd.cli.transport import Reply, Unreached
from confd.codec.strict_json import JsonObject

#: Attempts for a publish whose answer is lost, a second apart; its idempotency key makes them safe.
_MAX_ATTEMPTS = 3

#: What to run after a refusal, by its code.
_HINTS = {
    "rollout_active": "To see it, run: confdctl rollout",
    "plan_required": "To see the policy, run: confdctl policy",
    "approval_required": "To propose the change, run: confdctl set FILE --propose",
    "frozen": "To list the freezes, run: confdctl freeze",
    "unknown_plan": "To list the plans, run: confdctl plans",
    "no_eligible_agent": "To see the agents and their states, run: confdctl agents",
}


@frozen
class Submission:
    """
    A change that is not published yet.

    @ivar path: path of the API.
    @ivar tag: tag of the version that the change is based on.
    @ivar query: parameters of the API.
    """

    path: str
    body: Mapping[str, object]
    tag: str
    query: Mapping[str, object] = field(factory=dict)


@define(eq=False)
class Submitter:
    """
    Sends changes of one namespace.

    @ivar rollout: the plan of a rollout, or another value of the parameter C{rollout}; C{None} for no parameter.
    """

    _session: Session
    _namespace: str
    _rollout: str | None

    def preview(self, change: Submission) -> JsonObject:
        """
        Return the answer to a dry run.

        @raise CommandError: the controller refuses the change.
        """
        body: JsonObject = value_of(self._post(change, _precondition(change), dry_run=True))
        return body

    def propose(self, change: Submission) -> JsonObject:
        """
        Propose a change; return it.

        @raise CommandError: the controller refuses the change.
        """
        made: JsonObject = value_of(self._post(change, _precondition(change), propose=True))["change"]
        return made

    def publish(self, change: Submission) -> JsonObject:
        """
        Publish a change, once, although answers may be lost.

        @return: the answer, and the C{tag} of the version.
        @raise CommandError: the controller refuses the change, or does not answer.
        """
        headers = _precondition(change) | {"Idempotency-Key": str(uuid.uuid4())}
        try:
            return _published(repeat(self._session, _MAX_ATTEMPTS, lambda: self._post(change, headers)))
        except Unreached as failure:
            sentence = f"{failure.sentence} The change may have been published; check with confdctl history."
            raise CommandError(failure.status, sentence) from None

    def _post(self, change: Submission, headers: Mapping[str, str], **more: object) -> Reply:
        query = {"namespace": self._namespace, "rollout": self._rollout, **change.query, **more}
        try:
            return self._session.controller.call("POST", change.path, change.body, headers, query)
        except CommandError as failure:
            if failure.code in _HINTS:
                failure.details += (_HINTS[failure.code],)
            if failure.code != "version_mismatch":
                raise
            since = change.tag.rpartition(".")[2]
            where = "" if self._namespace == self._session.namespace else f" -n {self._namespace}"
            hint = f"To see the other change, run: confdctl diff {since}{where}"
            raise CommandError(failure.status, failure.sentence, [hint], failure.code) from None


def repeat(session: Session, attempts: int, send: Callable[[], Reply]) -> Reply:
    """
    Send a request, and again while its answer is lost, a second apart; its idempotency key makes that safe.

    @raise Unreached: the last answer is lost, too.
    """
    for _ in range(attempts - 1):
        try:
            return send()
        except Unreached:
            session.clock.sleep(1)
    return send()


def _precondition(change: Submission) -> dict[str, str]:
    return {"If-Match": change.tag if change.tag == "*" else f'"{change.tag}"'}


def _published(answer: Reply) -> JsonObject:
    body: JsonObject = value_of(answer)
    return body | {"tag": tag_of(answer)}
