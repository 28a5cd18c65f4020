"""HTTP responses of controllers and workers, read to the end, and the errors that they stand for."""

from __future__ import annotations

from urllib.parse import urljoin, urlsplit

from attrs import field, frozen
from twisted.web.http_headers import Headers

from confd.codec import strict_json
from confd.codec.retry_after import STATUSES, parse_retry_after
from confd.codec.text import printable
from confd.errors import Conflict, Forbidden, Malformed, NotFound, Unauthenticated, Unavailable, Unprocessable
from confd.runtime.addresses import join
from confd.runtime.offload import LARGE_BYTES

#: Bytes of an error response that are parsed as JSON, on the reactor.
_MAX_ERROR_BYTES = LARGE_BYTES

#: Characters of another program's text that an error repeats.
MAX_QUOTED_CHARS = 500

_REDIRECTS = (301, 302, 303, 307, 308)

_ERRORS = {401: Unauthenticated, 403: Forbidden, 404: NotFound, 409: Conflict, 429: Unavailable}


@frozen
class Response:
    """
    An HTTP response, read to its end.

    @ivar who: the peer, at the beginning of a sentence.
    @ivar asked: URL of the request.
    @ivar setting: name of the setting that holds the address of the peer.
    """

    who: str
    status: int
    body: bytes
    _headers: Headers = field(factory=Headers, eq=False)
    asked: str = field(default="", eq=False)
    setting: str = field(default="", eq=False)

    def header(self, name: str) -> str | None:
        """Return the first value of a header, or C{None}."""
        values = self._headers.getRawHeaders(name)
        return values[0] if values else None

    def error(self) -> tuple[str, str]:
        """Return C{code} and C{error} of an error response of confd; of another program, C{""} and its text."""
        code, text = "", self.body[: 4 * MAX_QUOTED_CHARS].decode("utf-8", "replace")
        try:
            value = strict_json.decode(self.body) if len(self.body) <= _MAX_ERROR_BYTES else None
        except Malformed:
            value = None
        if isinstance(value, dict):
            code, text = str(value.get("code", "")), str(value.get("error", text))
        return code[:MAX_QUOTED_CHARS], printable(" ".join(text[:MAX_QUOTED_CHARS].split()), MAX_QUOTED_CHARS)

    def raise_unless_success(self) -> None:
        """
        Raise the error for this status, unless it is 2xx.

        @raise ConfdError: with the peer's own text, if it sent one.
        """
        if 200 <= self.status < 300:
            return
        code, text = self.error()
        sentence = f"{self.who} answers {self.status}" + (f": {text}" if text else ".")
        if self.status in _REDIRECTS and self.header("Location"):
            raise Malformed("redirect", self._describe_redirect())
        if self.status in (400, 413, 415, 422):
            raise Unprocessable(code or "refused", text or sentence)
        if self.status == 407:
            sentence = f"The proxy on the way to {self.who} answers 407; add user and password to the proxy's URL."
        kind = _ERRORS.get(self.status, Unavailable if self.status >= 500 else Malformed)
        error = kind(code or "unexpected_answer", sentence)
        # An agent whose id is in use is to wait, too.
        if self.status in (*STATUSES, 409):
            error.retry_after = parse_retry_after(self.header("Retry-After"), self.header("Date"))
        raise error

    def _describe_redirect(self) -> str:
        """Return a sentence with the target of a redirect, without credentials and query."""
        try:
            parts = urlsplit(urljoin(self.asked, self.header("Location") or ""))
            host = join(parts.hostname or "", parts.port)
        except ValueError:
            host = ""
        if not host:
            return f"{self.who} answers {self.status}, a redirect without a valid target."
        path = parts.path.removesuffix(urlsplit(self.asked).path)
        target = printable(f"{parts.scheme}://{host}{path}", MAX_QUOTED_CHARS)
        if target == self.asked.partition("?")[0].removesuffix(urlsplit(self.asked).path):
            target += parts.path
        advice = f"set {self.setting} to it" if self.setting else "use that address"
        return f"{self.who} answers {self.status} and redirects to {target}; {advice}, as redirects are not followed."


def refused_credentials(who: str, role: str) -> Unauthenticated:
    """
    Return the error for a 401.

    @param who: the peer, at the beginning of a sentence.
    @param role: prefix of the settings to change, such as C{WORKER}.
    """
    settings = f"{role}_USERNAME and {role}_PASSWORD"
    return Unauthenticated("bad_credentials", f"{who} refuses the credentials; set {settings} to what it expects.")
