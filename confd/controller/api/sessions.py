"""Endpoints of the sessions of browsers."""

from __future__ import annotations

import msgspec
from attrs import define

from confd.errors import Forbidden, TooMany, Unauthenticated, Unavailable, Unprocessable
from confd.web.api.endpoint import ANYONE, Answer, Call, endpoint
from confd.web.auth.sessions import SessionAuth
from confd.web.openapi.docs import Docs


class SignIn(msgspec.Struct, forbid_unknown_fields=True):
    """Credentials: a user name and a password, or a token."""

    username: str = ""
    password: str = ""
    token: str = ""


@define(eq=False)
class SessionsApi:
    """Begins and ends the sessions of browsers."""

    _sessions: SessionAuth

    @endpoint(
        "POST",
        "/signin",
        ANYONE,
        "Begin a session.",
        body=SignIn,
        docs=Docs(
            {204: None},
            (Unauthenticated, Forbidden, Unprocessable, TooMany, Unavailable),
            example={"username": "admin", "password": "admin123"},
            tag="access",
        ),
    )
    async def sign_in(self, call: Call) -> Answer:
        """Set the cookie C{confd_session}, which ends after 12 hours, and with the password or the token."""
        wanted: SignIn = call.body
        if bool(wanted.token) == bool(wanted.username or wanted.password):
            raise Unprocessable("bad_sign_in", "Send either a token, or a user name and a password.")
        cookie = await self._sessions.sign_in(call.request, wanted.username, wanted.password or wanted.token)
        return _answer(cookie)

    @endpoint("POST", "/signout", ANYONE, "End a session.", docs=Docs({204: None}, (Forbidden,), tag="access"))
    async def sign_out(self, call: Call) -> Answer:
        """Delete the cookie C{confd_session} in the browser."""
        return _answer(self._sessions.sign_out(call.request))


def _answer(cookie: str) -> Answer:
    return Answer(status=204, headers={"Set-Cookie": cookie, "Cache-Control": "no-store"})
