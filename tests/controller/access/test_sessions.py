"""Sessions of browsers: a cookie in place of the credentials, over HTTP."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from confd.web.auth.basic import Credential
from confd.web.auth.principals import Role
from confd.web.auth.sessions import SESSION_SECONDS
from tests.controller.access.test_tokens import DOCUMENT, TokenCase
from tests.controller.harness import ADMIN, AGENT, ControllerHarness
from tests.conversation import Reply

PAGE = {"Origin": "http://localhost", "Host": "localhost", "User-Agent": "Mozilla/5.0"}
PASSWORD = {"username": ADMIN[0], "password": ADMIN[1]}
BROWSER = {"Accept": "text/html,*/*", "User-Agent": "Mozilla/5.0"}


class SessionCase(TokenCase):
    """A controller, and browsers that sign in."""

    def send(self, method: str, path: str, cookie: str = "", json: object = None, **headers: str) -> Reply:
        """Send one request of a page, with a cookie."""
        caller = self.harness.caller()
        sent = (
            PAGE | ({"Cookie": cookie} if cookie else {}) | {name.replace("_", "-"): headers[name] for name in headers}
        )
        reply = caller.request(method, path, headers=sent, **({} if json is None else {"json": json}))
        caller.hang_up()
        return reply

    def sign_in(self, body: object = PASSWORD, **headers: str) -> str:
        """Sign in, and return the cookie as a browser sends it."""
        reply = self.send("POST", "/signin", json=body, **headers)
        self.assertEqual((reply.status, reply.body), (204, b""), reply)
        return reply.headers["set-cookie"].partition(";")[0]

    def caller_of(self, cookie: str) -> Any:
        """Return what the controller says of the caller with a cookie; C{None} for one that it refuses."""
        reply = self.send("GET", "/api/v1/whoami", cookie)
        return reply.json if reply.status == 200 else None


class SignInTests(SessionCase):
    """The way into a session, and out of it."""

    def test_password_and_token_begin_a_session_of_their_caller(self) -> None:
        admin = self.caller_of(self.sign_in())
        self.assertEqual((admin["name"], admin["kind"]), ("admin", "password"))
        self.assertEqual(admin["expires_at"], "2026-11-25T00:00:00.000Z")
        secret = self.create("eve", expires_in=3600)["token"]
        for body in ({"token": secret}, {"username": secret[6:14], "password": secret}):
            caller = self.caller_of(self.sign_in(body))
            self.assertEqual((caller["name"], caller["kind"]), ("eve", "token"))
            self.assertEqual(caller["expires_at"], "2026-11-24T13:00:00.000Z", "the token ends before the session")

    def test_cookie_is_out_of_reach_of_scripts_and_other_sites(self) -> None:
        for origin, secure in (("http://localhost", ""), ("https://localhost", "; Secure")):
            reply = self.send("POST", "/signin", json=PASSWORD, Origin=origin)
            self.assertEqual(reply.headers["cache-control"], "no-store")
            text, _, rest = reply.headers["set-cookie"].partition(";")
            self.assertEqual(rest, f" Path=/; Max-Age={SESSION_SECONDS}; HttpOnly; SameSite=Strict{secure}")
            self.assertNotIn(ADMIN[1], text)
        reply = self.send("POST", "/signout", text)
        self.assertEqual(reply.status, 204)
        self.assertEqual(reply.headers["set-cookie"], "confd_session=; Path=/; Max-Age=0; HttpOnly; SameSite=Strict")

    def test_wrong_credentials_are_refused_and_asked_for_without_a_prompt(self) -> None:
        for body, status, code in (
            ({"username": "admin", "password": "wrong"}, 401, "wrong_credentials"),
            ({"username": "nobody", "password": "wrong"}, 401, "wrong_credentials"),
            ({"token": f"confd_00000000_{'A' * 43}"}, 401, "wrong_credentials"),
            ({"token": "nonsense"}, 401, "wrong_credentials"),
            ({"username": AGENT[0], "password": AGENT[1]}, 403, "forbidden"),
            ({}, 422, "bad_sign_in"),
            (PASSWORD | {"token": "x"}, 422, "bad_sign_in"),
            ({"username": "admin", "password": 1}, 400, "bad_field"),
        ):
            reply = self.send("POST", "/signin", json=body)
            self.assertEqual((reply.status, reply.code), (status, code), body)
            self.assertNotIn("set-cookie", reply.headers)
            if status == 401:
                self.assertEqual(reply.headers["www-authenticate"], 'Session realm="confd"')

    def test_page_of_another_site_signs_nobody_in_or_out(self) -> None:
        for path in ("/signin", "/signout"):
            for headers in ({"Origin": "http://evil.example"}, {"Sec-Fetch-Site": "cross-site"}):
                reply = self.send("POST", path, json=PASSWORD if path == "/signin" else None, **headers)
                self.assertEqual((reply.status, reply.code), (403, "cross_site"))
                self.assertNotIn("set-cookie", reply.headers)

    def test_browser_without_access_is_led_to_the_page(self) -> None:
        for auth in (None, ("admin", "wrong"), AGENT):
            caller = self.harness.caller()
            reply = caller.request("GET", "/", headers=BROWSER, **({} if auth is None else {"auth": auth}))
            self.assertEqual((reply.status, reply.headers["location"]), (303, "signin"))
            self.assertEqual(reply.headers["cache-control"], "no-store")
            self.assertNotIn("www-authenticate", reply.headers)
            caller.hang_up()
        reply = self.send("GET", "/signin")
        self.assertEqual(reply.status, 200)
        self.assertIn(b"<h1>Sign in</h1>", reply.body)
        for each in ("style.css", "signin.js", "favicon.svg"):
            self.assertIn(f"dashboard/{each}".encode(), reply.body)
            self.assertEqual(self.send("GET", f"/dashboard/{each}").status, 200)
        self.assertEqual(self.send("GET", "/", self.sign_in(), **BROWSER).status, 200)

    def test_programs_and_paths_of_the_api_get_the_answers_of_before(self) -> None:
        for path, headers in (("/", {}), ("/api/v1/config", {}), ("/api/v1/config", BROWSER)):
            reply = self.harness.caller().request("GET", path, headers=headers)
            self.assertEqual((reply.status, reply.code), (401, "unauthenticated"))
            self.assertEqual(reply.headers["www-authenticate"], 'Basic realm="confd", charset="UTF-8"')


class EndTests(SessionCase):
    """What ends a session."""

    def test_session_ends_after_its_time(self) -> None:
        cookie = self.sign_in()
        self.harness.clock.advance(SESSION_SECONDS - 1)
        self.assertIsNotNone(self.caller_of(cookie))
        self.harness.clock.advance(1)
        reply = self.send("GET", "/api/v1/config", cookie)
        self.assertEqual((reply.status, reply.code), (401, "unauthenticated"))

    def test_stream_ends_with_its_session(self) -> None:
        for path in ("/api/v1/events", "/api/v1/stream"):
            cookie = self.sign_in()
            caller = self.harness.caller()
            caller.ask("GET", path, headers=PAGE | {"Cookie": cookie})
            self.harness.clock.advance(SESSION_SECONDS - 60)
            self.assertFalse(caller.closed, path)
            self.harness.clock.advance(60)
            self.assertTrue(caller.closed, path)

    def test_new_password_ends_the_sessions_of_its_identity(self) -> None:
        cookie = self.sign_in()
        self.harness.auth.renew([Credential.of("admin", "another", Role.ADMIN)])
        self.assertIsNone(self.caller_of(cookie))
        self.assertIsNotNone(self.caller_of(self.sign_in({"username": "admin", "password": "another"})))

    def test_revoked_or_rotated_token_ends_its_sessions(self) -> None:
        for change in ("DELETE", "POST"):
            made = self.create(f"eve-{change.lower()}")
            cookie = self.sign_in({"token": made["token"]})
            path = f"/api/v1/tokens/{made['id']}"
            self.assertIsNotNone(self.caller_of(cookie))
            self.ask(change, path if change == "DELETE" else f"{path}/rotate")
            self.assertIsNone(self.caller_of(cookie))

    def test_rotated_token_keeps_its_sessions_for_the_overlap(self) -> None:
        made = self.create("eve")
        cookie = self.sign_in({"token": made["token"]})
        self.ask("POST", f"/api/v1/tokens/{made['id']}/rotate", json={"overlap": 60})
        self.assertIsNotNone(self.caller_of(cookie))
        self.harness.clock.advance(60)
        self.assertIsNone(self.caller_of(cookie))

    def test_expired_token_ends_its_sessions(self) -> None:
        cookie = self.sign_in({"token": self.create("eve", expires_in=60)["token"]})
        self.harness.clock.advance(60)
        self.assertIsNone(self.caller_of(cookie))

    def test_rotation_of_the_signing_key_keeps_sessions_once(self) -> None:
        cookie = self.sign_in()
        for kept in (True, False):
            self.assertEqual(self.ask("POST", "/api/v1/signing-key/rotate").status, 200)
            self.assertEqual(self.caller_of(cookie) is not None, kept)

    def test_other_controllers_of_the_cluster_accept_the_cookie(self) -> None:
        cookie = self.sign_in()
        other = ControllerHarness(self.harness.store)
        self.addCleanup(other.stop)
        reply = other.caller().request("GET", "/api/v1/whoami", headers=PAGE | {"Cookie": cookie})
        self.assertEqual(reply.status, 200)
        stranger = ControllerHarness()
        self.addCleanup(stranger.stop)
        reply = stranger.caller().request("GET", "/api/v1/whoami", headers=PAGE | {"Cookie": cookie})
        self.assertEqual(reply.status, 401, "a cluster with the same password accepts the cookie of another one")


class CookieTests(SessionCase):
    """What a cookie may do."""

    def test_changed_cookie_is_refused(self) -> None:
        cookie = self.sign_in()
        other = self.sign_in({"token": self.create("eve")["token"]})
        (one, kind, name, ends, code), theirs = cookie.split("."), other.split(".")
        later = str(int(ends) + 1)
        for forged in (
            (one, kind, name, later, code),
            (one, kind, theirs[2], ends, code),
            (one, theirs[1], theirs[2], ends, code),
            (one, kind, name, ends, theirs[4]),
            (one, kind, name, ends, code[:-1]),
            (one, kind, name, "9" * 12, code),
            (one, kind, "", ends, code),
            (one, kind, "/w==", ends, code),
        ):
            self.assertIsNone(self.caller_of(".".join(forged)), forged)
        self.assertIsNotNone(self.caller_of(cookie))

    @given(st.text(st.characters(min_codepoint=33, max_codepoint=126, exclude_characters=",;"), max_size=80))
    def test_any_other_cookie_is_no_session(self, text: str) -> None:
        for cookie in (f"confd_session={text}", f"confd_session=1.p.{text}", f"confd_session=1.t.YWRtaW4=.{text}"):
            self.assertEqual(self.send("GET", "/api/v1/whoami", cookie).status, 401)

    def test_change_needs_a_page_of_this_site(self) -> None:
        cookie, path = self.sign_in(), "/api/v1/config"
        for headers, status in (
            ({"Origin": "http://localhost"}, 200),
            ({"Sec-Fetch-Site": "same-origin"}, 200),
            ({}, 403),
            ({"Origin": "http://evil.example"}, 403),
            ({"Origin": "null"}, 403),
            ({"Sec-Fetch-Site": "same-site"}, 403),
        ):
            caller = self.harness.caller()
            sent = {"Host": "localhost", "Cookie": cookie} | headers
            reply = caller.request("POST", path, headers=sent, json=DOCUMENT)
            self.assertEqual(reply.status, status, headers)
            if status == 403:
                self.assertEqual(reply.code, "cross_site")
            caller.hang_up()

    def test_credentials_win_over_a_cookie(self) -> None:
        cookie = self.sign_in()
        for auth, status in ((AGENT, 403), (("admin", "wrong"), 401), (ADMIN, 200)):
            reply = self.harness.caller().request("GET", "/api/v1/tokens", auth=auth, headers=PAGE | {"Cookie": cookie})
            self.assertEqual(reply.status, status)

    def test_session_has_the_grants_of_its_token_only(self) -> None:
        grants = [{"role": "publisher", "namespaces": ["team-*"]}]
        cookie = self.sign_in({"token": self.create("eve", grants)["token"]})
        self.assertEqual(self.send("GET", "/api/v1/namespaces", cookie).json, [])
        self.assertEqual(self.send("POST", "/api/v1/config", cookie, DOCUMENT).code, "unknown_namespace")
        self.assertEqual(self.send("GET", "/api/v1/tokens", cookie).code, "forbidden")
        audit = self.ask("GET", "/api/v1/audit").json["items"]
        [entry] = [each for each in audit if each["who"].startswith("token eve")]
        self.assertEqual((entry["outcome"], entry["subject"]), ("unknown_namespace", "eve"))

    def test_same_bytes_are_refused_once_the_session_is_over(self) -> None:
        cookie = self.sign_in()
        for passed, status in ((0, 200), (1, 200), (SESSION_SECONDS - 1, 401)):
            self.harness.clock.advance(passed)
            self.assertEqual(self.send("GET", "/api/v1/config", cookie).status, status)


class LimitTests(SessionCase):
    """Attempts to guess a password."""

    settings = {"LOGIN_FAILURES": "3"}

    def test_guesses_of_a_password_or_a_token_are_limited(self) -> None:
        right = self.sign_in()
        for body in ({"username": "admin", "password": "x"}, {"token": f"confd_00000000_{'A' * 43}"}) * 2:
            reply = self.send("POST", "/signin", json=body)
            last = (reply.status, reply.code)
        self.assertEqual(last, (429, "too_many_failures"))
        self.assertIn("retry-after", reply.headers)
        self.assertIsNotNone(self.caller_of(right), "a session goes on")
