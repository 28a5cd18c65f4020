"""What a command works with, and the options that every command takes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from functools import cached_property
from typing import Any, TypeVar

import click
from attrs import frozen

from confd.cli.api_client import ApiClient
from confd.cli.errors import CommandError, Exit
from confd.cli.output import FORMS, Output
from confd.cli.profile import Profile, resolve
from confd.cli.transport import ITransport
from confd.client.forward_proxy import ForwardProxy
from confd.codec.text import printable

C = TypeVar("C", bound=Callable[..., Any])


@frozen
class Clock:
    """
    What passes while a command runs.

    @ivar now: the wall clock, UTC, for what people read.
    @ivar monotonic: seconds, for deadlines.
    @ivar sleep: waits for so many seconds.
    """

    now: Callable[[], datetime]
    monotonic: Callable[[], float]
    sleep: Callable[[float], None]


class Session:
    """
    One command that was typed.

    @ivar given: what options say about the controller: see L{confd.cli.profile.resolve}.
    @ivar interactive: whether somebody sits at a terminal and can be asked.
    @ivar closing_notes: what to say when all else is said, however the command ended.
    """

    def __init__(
        self,
        screen: Output,
        environ: Mapping[str, str],
        interactive: bool,
        connect: Callable[[str, str | None, ForwardProxy | None], ITransport],
        clock: Clock,
    ) -> None:
        """
        @param connect: makes a transport of a URL, a CA file, and the proxy on the way.
        """
        self.screen, self.environ, self.interactive, self.clock = screen, environ, interactive, clock
        self.given: dict[str, str] = {}
        self.closing_notes: list[str] = []
        self._connect = connect

    @cached_property
    def target(self) -> Profile:
        """The controller that is meant; what is remarkable about that is said once."""
        target = resolve(self.given, self.environ)
        for remark in target.remarks:
            self.screen.say(remark)
        return target

    @cached_property
    def controller(self) -> ApiClient:
        """To speak to it."""
        transport = self._connect(self.target.url, self.target.ca_file, self.target.proxy)
        return ApiClient(self.target, transport, self._ask_password if self.interactive else None, self._come_back)

    @property
    def namespace(self) -> str:
        """The namespace that is meant."""
        return self.target.namespace

    def check_somebody(self, yes: bool) -> None:
        """
        Make sure that L{confirm} will find somebody.

        @param yes: nobody will be asked.
        @raise Failure: if there is nobody.
        """
        if not (yes or self.interactive):
            raise CommandError(
                Exit.USAGE, "There is no terminal to ask on; add --yes to go ahead. Nothing was changed."
            )

    def confirm(self, question: str, yes: bool, default: bool = False) -> None:
        """
        Go on only if somebody agrees.

        @param yes: somebody has agreed already.
        @raise Failure: if not, or if there is nobody to ask.
        """
        self.check_somebody(yes)
        if not yes and not click.confirm(printable(question), default=default, err=True):
            raise CommandError(Exit.FAILED, "Nothing was changed.")

    def _come_back(self, why: str, seconds: float) -> None:
        self.screen.say(why)
        self.clock.sleep(seconds)

    def _ask_password(self, username: str) -> str:
        answer: str = click.prompt(f"Password of {printable(username)}", hide_input=True, err=True)
        return answer


pass_session = click.make_pass_decorator(Session)


def _keep(context: click.Context, parameter: click.Parameter, value: str | None) -> None:
    session = context.find_object(Session)
    if session is not None and value is not None and parameter.name is not None:
        if parameter.name == "output":
            session.screen.form = value
        else:
            session.given[parameter.name] = value


def _option(*names: str, hidden: bool, **how: Any) -> Callable[[C], C]:
    return click.option(*names, callback=_keep, expose_value=False, is_eager=True, hidden=hidden, **how)


def common(root: bool = False, namespace: bool = True) -> Callable[[C], C]:
    """
    The options that are the same for all commands; they count before and after the command's name.

    @param root: whether this is what is before the name, where all of them are explained.
    @param namespace: whether the command concerns one namespace.
    """
    options = [
        _option("-o", "--output", type=click.Choice(FORMS), help="Output format.  [default: table]", hidden=False),
        _option("-n", "--namespace", metavar="NAME", help="Namespace.  [default: default]", hidden=not namespace),
        _option("--profile", metavar="NAME", help="Profile in ~/.config/confd/config.toml.", hidden=not root),
        _option("--url", metavar="URL", help="The controller.  [default: http://localhost:8080]", hidden=not root),
        _option("--username", metavar="NAME", help="Who you are to it.  [default: admin]", hidden=not root),
        _option("--password-file", metavar="FILE", help="File or pipe with the password.", hidden=not root),
        _option("--ca-file", metavar="FILE", help="Certificates to trust, not the system's.", hidden=not root),
    ]  # fmt: skip

    def add(command: C) -> C:
        for option in reversed(options):
            command = option(command)
        return command

    return add
