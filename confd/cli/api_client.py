"""Call the HTTP API of the controller, with values in and out, and a L{CommandError} for each failure."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from urllib.parse import urlencode

from attrs import define, evolve

from confd.cli.errors import CommandError, Exit
from confd.cli.profile import Profile
from confd.cli.transport import ITransport, Reply
from confd.codec import sse
from confd.codec.retry_after import STATUSES, parse_retry_after
from confd.codec.strict_json import JsonObject, JsonValue
from confd.codec.text import printable
from confd.errors import Malformed

#: Time limit for one request.
TIMEOUT_SECONDS = 30.0
#: Attempts for one request that the controller defers with C{Retry-After}.
_MAX_ATTEMPTS = 3
#: Shortest pause between two attempts.
_MIN_PAUSE_SECONDS = 0.25
#: Silence after which an event stream counts as broken: three heartbeats and a margin.
_MAX_SILENCE_SECONDS = 35.0
_MAX_EVENT_BYTES = 1048576

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
    The client of one controller.

    @ivar ask: asks a person for the password of a user; C{None} without a terminal.
    @ivar wait: prints a sentence and sleeps for some seconds; C{None} never waits.
    @ivar timeout: time limit for one request, in seconds.
    """

    target: Profile
    _transport: ITransport
    _ask: Callable[[str], str] | None
    _wait: Callable[[str, float], None] | None = None
    _timeout: float = TIMEOUT_SECONDS

    def get(self, path: str, **query: object) -> JsonValue:
        """
        Return the decoded JSON at a path; see L{call}.

        @raise CommandError: see L{call}.
        """
        return value_of(self.call("GET", path, query=query))

    def pages(self, path: str, limit: int | None, *, cursor: str = "before", **query: object) -> Iterator[JsonObject]:
        """
        Yield the items of a paged list; request each page when it is needed.

        @param limit: largest number of items; C{None} for all.
        @param cursor: name of the parameter for the C{next} of a page.
        """
        while limit is None or limit > 0:
            size = 500 if limit is None else min(limit, 500)
            page = self.get(path, limit=size, **query)
            yield from page["items"]
            if "next" not in page or not page["items"]:
                return
            query[cursor] = page["next"]
            limit = limit and limit - len(page["items"])

    def call(
        self,
        method: str,
        path: str,
        body: JsonValue = None,
        headers: Mapping[str, str] | None = None,
        query: Mapping[str, object] = NO_QUERY,
        patient: bool = True,
    ) -> Reply:
        """
        Send a request and return the successful answer; repeat it where the controller answers C{Retry-After}.

        @param body: sent as JSON; C{None} for no body.
        @param query: parameters; C{None} leaves a parameter out.
        @param patient: whether to repeat it, for L{TIMEOUT_SECONDS} in all.
        @raise CommandError: no answer, or an answer that is not successful.
        """
        sent = dict(headers or {})
        raw = None
        if body is not None:
            sent["Content-Type"] = "application/json"
            raw = json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()
        there = _with_query(path, query)
        # A 503 does not prove that nothing happened: only idempotent requests are repeated.
        idempotent = method == "GET" or "Idempotency-Key" in sent or bool(query.get("dry_run"))
        retries = _Retries(self._wait if patient else None)
        while True:
            answer = self._transport.exchange(method, there, self._headers(sent), raw, self._timeout)
            if answer.status == 401 and self._ask_again():
                answer = self._transport.exchange(method, there, self._headers(sent), raw, self._timeout)
            if 200 <= answer.status < 300:
                return answer
            refusal = self._refusal(answer)
            if not ((idempotent or answer.status == 429) and retries.wait(refusal)):
                raise refusal

    def open(self, path: str) -> Reply:
        """Get a path without credentials; return the answer with any status."""
        return self._transport.exchange("GET", path, {"Accept": "*/*"}, None, TIMEOUT_SECONDS)

    def certificate_expiry(self) -> datetime | None:
        """Return when the certificate of the controller expires, UTC; C{None} without TLS."""
        return self._transport.certificate_expiry(TIMEOUT_SECONDS)

    def events(self, **query: object) -> Iterator[tuple[str, JsonValue]]:
        """
        Yield the name and the value of each event as it arrives.

        @raise CommandError: the stream breaks, or is refused.
        """
        parser = sse.Parser(_MAX_EVENT_BYTES)
        headers = self._headers({"Accept": sse.CONTENT_TYPE})
        try:
            for piece in self._transport.stream(_with_query("/api/v1/events", query), headers, _MAX_SILENCE_SECONDS):
                if isinstance(piece, bytes):
                    for event in parser.feed(piece):
                        yield event.name, json.loads(event.data)
                elif piece.status == 401 and self._ask_again():
                    yield from self.events(**query)
                elif piece.status != 200:
                    raise self._refusal(piece)
        except (Malformed, ValueError):
            raise CommandError(Exit.FAILED, "The controller sends malformed events; run confdctl doctor.") from None

    def download(self, path: str, idle: float) -> Iterator[Reply | bytes]:
        """
        Get a large body: yield the answer without it, then its pieces.

        @param idle: longest silence in seconds.
        @raise CommandError: the answer is not successful, or the connection breaks.
        """
        pieces = self._transport.stream(path, self._headers({"Accept": "*/*"}), idle)
        for piece in pieces:
            if isinstance(piece, Reply) and piece.status == 401 and self._ask_again():
                yield from self.download(path, idle)
            elif isinstance(piece, Reply) and piece.status != 200:
                raise self._refusal(piece)
            else:
                yield piece

    def _headers(self, more: Mapping[str, str]) -> dict[str, str]:
        if self.target.token is not None:
            return {"Accept": "application/json", "Authorization": f"Bearer {self.target.token}", **more}
        if self.target.password is None and not self._ask_again():
            raise CommandError(
                Exit.DENIED,
                f"No password is set for {self.target.username} at {self.target.url}; set ADMIN_PASSWORD, or name a "
                "file with --password-file or in a profile.",
            )
        pair = f"{self.target.username}:{self.target.password}".encode("utf-8", "surrogateescape")
        return {"Accept": "application/json", "Authorization": f"Basic {base64.b64encode(pair).decode()}", **more}

    def _ask_again(self) -> bool:
        """Ask once for a password where none was set; return whether one was typed."""
        if self._ask is None or self.target.token is not None:
            return False
        if self.target.origins.get("password") not in (None, "the built-in password"):
            return False
        self.target = evolve(
            self.target,
            password=self._ask(self.target.username),
            origins={**self.target.origins, "password": "the typed password"},
        )
        return True

    def _refusal(self, answer: Reply) -> CommandError:
        failure = self._error_of(answer)
        if answer.status in STATUSES:
            headers = answer.headers
            failure.retry_after = parse_retry_after(headers.get("retry-after"), headers.get("date"))
        return failure

    def _error_of(self, answer: Reply) -> CommandError:
        if 300 <= answer.status < 400:
            where = printable(answer.headers.get("location", "nowhere"))[:200]
            return CommandError(
                Exit.FAILED,
                f"{self.target.url} redirects to {where}, which is not followed; set --url to the right address.",
            )
        try:
            body = json.loads(answer.body)
            said, code, details = str(body["error"]), str(body["code"]), body.get("details", [])
            # Details without a message say no more than the sentence.
            found = [
                f"{each.get('pointer', '')}: {each['message']}".removeprefix(": ")
                for each in details
                if "message" in each
            ]
            # The sentence already contains the first detail, or is the only one.
            lines = [each for each in found if each.removeprefix("/") not in said and not each.endswith(f": {said}")]
        except (ValueError, KeyError, TypeError, AttributeError):
            return CommandError(
                _STATUS.get(answer.status, Exit.FAILED),
                f"{self.target.url} answers {answer.status}, but not like a confd controller; check the address.",
            )
        if answer.status == 401 and self.target.token is not None:
            what = "has expired" if code == "token_expired" else "is wrong or revoked"
            said = f"The token in {self.target.origins['token']} {what}; set another one, which an admin can create."
        elif answer.status == 401:
            said = (
                f"The controller refuses the user {self.target.username} with "
                f"{self.target.origins.get('password', 'this password')}; set ADMIN_USERNAME and ADMIN_PASSWORD, or "
                "--password-file."
            )
        return CommandError(_STATUS.get(answer.status, Exit.FAILED), said, lines, code)


@define(eq=False)
class _Retries:
    """
    The attempts of one request, and the time that is left for them.

    @ivar wait: prints a sentence and sleeps for some seconds; C{None} allows one attempt.
    """

    _wait: Callable[[str, float], None] | None
    _seconds_left: float = TIMEOUT_SECONDS
    _attempts: int = 1

    def wait(self, refusal: CommandError) -> bool:
        """Wait as long as a refusal asks for; return whether to send the request again."""
        if self._wait is None or refusal.retry_after is None or self._attempts == _MAX_ATTEMPTS:
            return False
        pause = refusal.pause(_MIN_PAUSE_SECONDS)
        if pause > self._seconds_left:
            refusal.details += (f"Try again in {refusal.retry_after:.0f} s.",)
            return False
        self._attempts, self._seconds_left = self._attempts + 1, self._seconds_left - pause
        self._wait(f"{printable(refusal.sentence)} Retrying in {pause:.3g} s.", pause)
        return True


def tag_of(answer: Reply) -> str:
    """Return the tag of a version from the C{ETag} of an answer; empty without one."""
    return answer.headers.get("etag", "").strip('"')


def value_of(answer: Reply) -> JsonValue:
    """
    Return the decoded JSON body of an answer.

    @raise CommandError: it is not JSON.
    """
    try:
        return json.loads(answer.body)
    except (ValueError, RecursionError):
        raise CommandError(
            Exit.FAILED, "The answer is not JSON; check that the address is that of a confd controller."
        ) from None


def _with_query(path: str, query: Mapping[str, object]) -> str:
    plain = {
        name: str(value).lower() if isinstance(value, bool) else value
        for name, value in query.items()
        if value is not None
    }
    return f"{path}?{urlencode(plain)}" if plain else path
