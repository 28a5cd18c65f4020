"""The session of one command, and the options that all commands share."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping
from datetime import datetime
from functools import cached_property, partial
from typing import TypeVar

import click
from attrs import frozen
from click.shell_completion import CompletionItem

from confd.cli.api_client import ApiClient
from confd.cli.errors import CommandError, Exit
from confd.cli.forms import ALL_FORMS, COMMON_FORMS, LIST_FORMS, Form, FormType
from confd.cli.output import Output
from confd.cli.profile import Profile, resolve
from confd.cli.tracing import TracingTransport
from confd.cli.transport import ITransport
from confd.client.forward_proxy import ForwardProxy
from confd.codec.text import printable

#: Longest wait of a person who completes a word.
COMPLETION_SECONDS = 1.0

C = TypeVar("C", bound=Callable[..., object])


@frozen
class Clock:
    """
    The time functions that commands use.

    @ivar now: returns the wall clock time in UTC, for people.
    @ivar monotonic: returns seconds, for deadlines.
    @ivar sleep: blocks for some seconds.
    """

    now: Callable[[], datetime]
    monotonic: Callable[[], float]
    sleep: Callable[[float], None]


class Session:
    """
    The environment of one command.

    @ivar given: options that choose the controller; see L{confd.cli.profile.resolve}.
    @ivar interactive: whether a person at a terminal can answer questions.
    @ivar trace: whether to print each request.
    @ivar closing_notes: sentences to print at the end, also after an error.
    """

    def __init__(
        self,
        screen: Output,
        environ: Mapping[str, str],
        interactive: bool,
        connect: Callable[[str, str | None, ForwardProxy | None], ITransport],
        clock: Clock,
        execute: Callable[[str, tuple[str, ...], Mapping[str, str]], object] = os.execve,
        browse: Callable[[str], bool] = lambda url: False,
    ) -> None:
        """
        @param connect: builds a transport from a URL, a CA file and a proxy.
        @param execute: replaces this process: takes the path of a program, its arguments and its environment.
        @param browse: shows a URL in a browser; returns whether it could.
        """
        self.execute, self.browse = execute, browse
        self.trace = False
        self.screen, self.environ, self.interactive, self.clock = screen, environ, interactive, clock
        self.given: dict[str, str] = {}
        self.closing_notes: list[str] = []
        self._connect = connect

    @cached_property
    def target(self) -> Profile:
        """The profile of the controller; its warnings are printed once."""
        target = resolve(self.given, self.environ)
        for remark in target.remarks:
            self.screen.say(remark)
        return target

    @cached_property
    def controller(self) -> ApiClient:
        """The client of the controller."""
        ask = self._ask_password if self.interactive else None
        return ApiClient(self.target, self.transport(self.target), ask, self._sleep)

    def transport(self, target: Profile) -> ITransport:
        """Return a transport to a controller."""
        transport = self._connect(target.url, target.ca_file, target.proxy)
        return TracingTransport(transport, self.screen.say, self.clock.monotonic) if self.trace else transport

    @cached_property
    def completing_controller(self) -> ApiClient:
        """The client of the controller while a shell completes: it asks, prints and repeats nothing."""
        target = resolve(self.given, self.environ)
        transport = self._connect(target.url, target.ca_file, target.proxy)
        return ApiClient(target, transport, None, timeout=COMPLETION_SECONDS)

    @property
    def namespace(self) -> str:
        """The namespace that the command concerns."""
        return self.target.namespace

    def require_consent(self, yes: bool) -> None:
        """
        Refuse a command that would ask a question without a terminal.

        @param yes: whether the user agreed in advance, with C{--yes}.
        @raise CommandError: neither C{--yes} nor a terminal.
        """
        if not (yes or self.interactive):
            raise CommandError(
                Exit.USAGE, "Nothing was changed: no terminal to confirm on. Add --yes to proceed without a question."
            )

    def confirm(self, question: str, yes: bool, default: bool = False) -> None:
        """
        Ask a question; continue only if the answer is yes.

        @param yes: whether the user agreed in advance, with C{--yes}.
        @raise CommandError: the answer is no, or nobody can be asked.
        """
        self.require_consent(yes)
        if not yes and not click.confirm(printable(question), default=default, err=True):
            raise CommandError(Exit.FAILED, "Nothing was changed.")

    def _sleep(self, why: str, seconds: float) -> None:
        self.screen.say(why)
        self.clock.sleep(seconds)

    def _ask_password(self, username: str) -> str:
        answer: str = click.prompt(f"Password of {printable(username)}", hide_input=True, err=True)
        return answer


pass_session = click.make_pass_decorator(Session)


def _keep(context: click.Context, parameter: click.Parameter, value: str | None) -> None:
    session = context.find_object(Session)
    if session is not None and value is not None and parameter.name is not None:
        session.given[parameter.name] = value


def _keep_form(context: click.Context, parameter: click.Parameter, value: Form | None) -> None:
    session = context.find_object(Session)
    if session is None:
        return
    if value is not None:
        session.screen.form = value
    # The option may stand before the name of a command that does not take the form.
    forms = parameter.type
    assert isinstance(forms, FormType)
    if not forms.takes(session.screen.form):
        raise click.BadParameter(forms.refusal(session.screen.form.name), context, parameter)


def _keep_sort_by(context: click.Context, parameter: click.Parameter, value: str | None) -> None:
    session = context.find_object(Session)
    if session is not None:
        session.screen.sort_by = value


def _keep_trace(context: click.Context, parameter: click.Parameter, value: bool) -> None:
    session = context.find_object(Session)
    if session is not None and value:
        session.trace = True


def _keep_headers(context: click.Context, parameter: click.Parameter, value: bool) -> None:
    session = context.find_object(Session)
    if session is not None:
        session.screen.headers = not value


def _complete_namespace(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    # The module needs this one.
    from confd.cli.commands.completing import complete_namespace

    return complete_namespace(context, parameter, incomplete)


def _complete_profile(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    from confd.cli.commands.completing import complete_profile

    return complete_profile(context, parameter, incomplete)


_option = partial(click.option, callback=_keep, expose_value=False, is_eager=True)


_LIST_OPTIONS = (
    click.option("--sort-by", metavar="COLUMN", callback=_keep_sort_by, expose_value=False,
                 help="Sort by a column, such as last_poll; a dash before it reverses the order."),
    click.option("--no-headers", is_flag=True, callback=_keep_headers, expose_value=False,
                 help="Leave out the titles of the columns."),
)  # fmt: skip


def common(root: bool = False, namespace: bool = True, forms: Collection[str] = COMMON_FORMS) -> Callable[[C], C]:
    """
    Return a decorator that adds the shared options, which users may write before or after the name of the command.

    @param root: whether the command is C{confdctl} itself, whose help lists all of them.
    @param namespace: whether the command concerns one namespace.
    @param forms: the values of C{-o} that the command takes; with L{LIST_FORMS} it has the options of lists, too.
    """
    hidden = not root
    options = [
        click.option("-o", "--output", type=FormType(ALL_FORMS if root else forms), callback=_keep_form,
                     expose_value=False, is_eager=True, help="Output format; wide shows everything.  [default: table]"),
        *(_LIST_OPTIONS if forms is LIST_FORMS else ()),
        _option("-n", "--namespace", metavar="NAME", help="Namespace.  [default: default]", hidden=not namespace,
                shell_complete=_complete_namespace),
        _option("--profile", metavar="NAME", help="Profile in ~/.config/confd/config.toml.", hidden=hidden,
                shell_complete=_complete_profile),
        _option("--url", metavar="URL", help="Controller.  [default: http://localhost:8080]", hidden=hidden),
        _option("--username", metavar="NAME", help="User name.  [default: admin]", hidden=hidden),
        _option("--password-file", metavar="FILE", help="File or pipe that holds the password.", hidden=hidden,
                type=click.Path()),
        _option("--ca-file", metavar="FILE", help="Trusted authorities, not those of the system.", hidden=hidden,
                type=click.Path()),
        click.option("--trace", is_flag=True, callback=_keep_trace, expose_value=False, is_eager=True, hidden=hidden,
                     help="Print each request with its id, and no credentials."),
    ]  # fmt: skip

    def add(command: C) -> C:
        for option in reversed(options):
            command = option(command)
        return command

    return add
