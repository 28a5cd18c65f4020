"""The API of the controller, as commands see it: values in, values out, a L{CommandError} for all that can go wrong."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

from attrs import define, evolve

from confd.cli.errors import CommandError, Exit
from confd.cli.profile import Profile
from confd.cli.transport import ITransport, Reply
from confd.codec import sse
from confd.codec.retry_after import STATUSES, parse_retry_after
from confd.codec.text import printable
from confd.errors import Malformed

#: Seconds that a request may take.
TIMEOUT_SECONDS = 30.0
#: Tries of one request at most, where the controller asks to come back later, and seconds between them at least.
_TRIES, _PAUSE = 3, 0.25
#: Seconds of silence, three heartbeats and some, after which a stream of events is broken.
_SILENCE = 35.0
_MAX_EVENT = 1048576

NO_QUERY: Mapping[str, object] = {}

_STATUS = {
    400: Exit.USAGE,
    401: Exit.DENIED,
    403: Exit.DENIED,
    404: Exit.NOT_FOUND,
    410: Exit.NOT_FOUND,
    409: Exit.CONFLICT,
    412: Exit.CONFLICT,
    413: Exit.INVALID,
    422: Exit.INVALID,
    429: Exit.UNREACHABLE,
    503: Exit.UNREACHABLE,
}


@define(eq=False)
class ApiClient:
    """
    One controller.

    @ivar ask: asks a person for the password of a user; C{None} where nobody can be asked.
    @ivar wait: says a sentence and waits for some seconds; C{None} where nobody waits.
    """

    target: Profile
    _transport: ITransport
    _ask: Callable[[str], str] | None
    _wait: Callable[[str, float], None] | None = None

    def get(self, path: str, **query: object) -> Any:
        """
        The value at a path; see L{call}.

        @raise Failure: see L{call}.
        """
        return value_of(self.call("GET", path, query=query))

    def pages(self, path: str, limit: int | None, **query: object) -> Iterator[dict[str, Any]]:
        """
        The items of a list that comes in pages, as far as they are asked for.

        @param limit: how many at most.
        """
        while limit is None or limit > 0:
            size = 500 if limit is None else min(limit, 500)
            page = self.get(path, limit=size, **query)
            yield from page["items"]
            if "next" not in page or not page["items"]:
                return
            query["before"] = page["next"]
            limit = limit and limit - len(page["items"])

    def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
        query: Mapping[str, object] = NO_QUERY,
        patient: bool = True,
    ) -> Reply:
        """
        Ask for something; where the controller asks to come back later, within L{TIMEOUT_SECONDS} seconds do so.

        @param body: goes as JSON.
        @param query: what is C{None} is left out.
        @param patient: whether to come back.
        @raise Failure: if there is no answer, or one that says no.
        """
        sent = dict(headers or {})
        raw = None
        if body is not None:
            sent["Content-Type"] = "application/json"
            raw = json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()
        there = _with_query(path, query)
        # What may have been done in spite of a 503 is repeated only where that does nothing twice.
        harmless = method == "GET" or "Idempotency-Key" in sent or bool(query.get("dry_run"))
        waits = _Waits(self._wait if patient else None)
        while True:
            answer = self._transport.exchange(method, there, self._headers(sent), raw, TIMEOUT_SECONDS)
            if answer.status == 401 and self._ask_again():
                answer = self._transport.exchange(method, there, self._headers(sent), raw, TIMEOUT_SECONDS)
            if 200 <= answer.status < 300:
                return answer
            refusal = self._refusal(answer)
            if not ((harmless or answer.status == 429) and waits.go_on(refusal)):
                raise refusal

    def open(self, path: str) -> Reply:
        """Ask for something that takes no credentials, and take whatever comes."""
        return self._transport.exchange("GET", path, {"Accept": "*/*"}, None, TIMEOUT_SECONDS)

    def certificate_expiry(self) -> datetime | None:
        """Return when the certificate of the controller expires, UTC; C{None} without TLS."""
        return self._transport.certificate_expiry(TIMEOUT_SECONDS)

    def events(self, **query: object) -> Iterator[tuple[str, Any]]:
        """
        What happens, as it does: names of events and their values.

        @raise Failure: when the stream breaks, or is refused.
        """
        parser = sse.Parser(_MAX_EVENT)
        headers = self._headers({"Accept": sse.CONTENT_TYPE})
        try:
            for piece in self._transport.stream(_with_query("/api/v1/events", query), headers, _SILENCE):
                if isinstance(piece, bytes):
                    for event in parser.feed(piece):
                        yield event.name, json.loads(event.data)
                elif piece.status == 401 and self._ask_again():
                    yield from self.events(**query)
                elif piece.status != 200:
                    raise self._refusal(piece)
        except (Malformed, ValueError):
            raise CommandError(Exit.FAILED, "The controller sends events that cannot be understood.") from None

    def _headers(self, more: Mapping[str, str]) -> dict[str, str]:
        if self.target.password is None and not self._ask_again():
            raise CommandError(
                Exit.DENIED,
                f"There is no password for {self.target.username} at {self.target.url}: set ADMIN_PASSWORD, or name a "
                "file with --password-file or in a profile.",
            )
        pair = f"{self.target.username}:{self.target.password}".encode("utf-8", "surrogateescape")
        return {"Accept": "application/json", "Authorization": f"Basic {base64.b64encode(pair).decode()}", **more}

    def _ask_again(self) -> bool:
        """Have a password typed, where none was given and somebody is there; once."""
        if self._ask is None or self.target.origins.get("password") not in (None, "the built-in password"):
            return False
        self.target = evolve(
            self.target,
            password=self._ask(self.target.username),
            origins={**self.target.origins, "password": "what was typed"},
        )
        return True

    def _refusal(self, answer: Reply) -> CommandError:
        failure = self._told(answer)
        if answer.status in STATUSES:
            headers = answer.headers
            failure.retry_after = parse_retry_after(headers.get("retry-after"), headers.get("date"))
        return failure

    def _told(self, answer: Reply) -> CommandError:
        if 300 <= answer.status < 400:
            where = printable(answer.headers.get("location", "nowhere"))[:200]
            return CommandError(
                Exit.FAILED, f"{self.target.url} leads to {where}, and credentials do not follow; is that the address?"
            )
        try:
            body = json.loads(answer.body)
            said, code, details = str(body["error"]), str(body["code"]), body.get("details", [])
            found = [f"{each.get('pointer', '')}: {each['message']}".removeprefix(": ") for each in details]
            # The sentence has the first of them already.
            lines = [each for each in found if each.removeprefix("/") not in said]
        except (ValueError, KeyError, TypeError, AttributeError):
            return CommandError(
                _STATUS.get(answer.status, Exit.FAILED),
                f"{self.target.url} answers {answer.status} and not as a confd controller does; is that its address?",
            )
        if answer.status == 401:
            said = (
                f"The controller did not take the name {self.target.username} with "
                f"{self.target.origins.get('password', 'that password')}; set ADMIN_USERNAME and ADMIN_PASSWORD, or "
                "--password-file."
            )
        return CommandError(_STATUS.get(answer.status, Exit.FAILED), said, lines, code)


@define(eq=False)
class _Waits:
    """
    Those of one request.

    @ivar wait: says a sentence and waits for some seconds; C{None} to wait for nothing.
    """

    _wait: Callable[[str, float], None] | None
    _left: float = TIMEOUT_SECONDS
    _tries: int = 1

    def go_on(self, refusal: CommandError) -> bool:
        """Whether to ask once more; the wait for that is over then."""
        if self._wait is None or refusal.retry_after is None or self._tries == _TRIES:
            return False
        pause = refusal.pause(_PAUSE)
        if pause > self._left:
            refusal.details += (f"It asks not to be asked again for {refusal.retry_after:.0f} s.",)
            return False
        self._tries, self._left = self._tries + 1, self._left - pause
        self._wait(f"{printable(refusal.sentence)} Asking again in {pause:.3g} s.", pause)
        return True


def value_of(answer: Reply) -> Any:
    """
    The JSON of an answer.

    @raise Failure: if it is none.
    """
    try:
        return json.loads(answer.body)
    except (ValueError, RecursionError):
        raise CommandError(Exit.FAILED, "The answer is not JSON; is that the address of a confd controller?") from None


def _with_query(path: str, query: Mapping[str, object]) -> str:
    plain = {
        name: str(value).lower() if isinstance(value, bool) else value
        for name, value in query.items()
        if value is not None
    }
    return f"{path}?{urlencode(plain)}" if plain else path
