"""The root command C{confdctl}, which collects all commands."""

from __future__ import annotations

import click

import confd
from confd.cli.command import Command, Group, LazyCommands
from confd.cli.errors import Exit
from confd.cli.session import common
from confd.cli.shells import SHELLS

NAME = "confdctl"
COMPLETE_VARIABLE = "_CONFDCTL_COMPLETE"

_EPILOG = """
\b
First steps:
  confdctl status                        show the current version and the agents that applied it
  confdctl set url=https://example.com   change one key: shows the diff and asks before it publishes
  confdctl watch                         follow the change to the agents
  confdctl set url=https://example.com --rollout careful --wait applied
                                         the same in waves; a document that fails is taken back
  confdctl undo                          publish the version before again

\b
Address and credentials come from options, from the environment (CONFD_URL, CONFD_TOKEN, CONFD_TOKEN_FILE,
ADMIN_USERNAME, ADMIN_PASSWORD, ADMIN_PASSWORD_FILE, CONFD_CA_FILE, CONFD_NAMESPACE, CONFD_PROFILE, CONTROLLER_PROXY),
or from a profile in ~/.config/confd/config.toml:
  [profiles.prod]
  url = "https://confd.example.com"
  username = "admin"
  password_file = "prod.password"
  ca_file = "prod.pem"
  namespace = "edge"
A profile takes token_file in place of username and password_file. An API token wins over a password of the same
source. A profile that --profile names wins over the environment. Without a name, confdctl uses the profile that
confdctl context use chose, or "default"; confdctl login keeps a token for an address without other credentials.

\b
Exit status:
""" + "\n".join(f"  {each.value:>3}  {each.meaning}" for each in Exit)

#: Commands of other programs, and the command of C{confdctl} for the same purpose.
_HINTS = {
    "config": "get",
    "events": "watch",
    "help": "--help",
    "list": "agents",
    "promote": "rollout promote",
    "abort": "rollout abort",
    "pause": "rollout pause",
    "resume": "rollout resume",
    "log": "history",
    "publish": "set",
    "show": "get",
    "update": "set",
}

#: Modules and attributes of the commands, in the order of the help: frequent commands first.
_COMMANDS = {
    name: f"confd.cli.commands.{module}:{name if name not in ('set', 'import', 'exec', 'open') else name + '_'}"
    for module, names in (
        ("configs", "get set edit unset history"),
        ("comparing", "diff validate"),
        ("configs", "rollback undo"),
        ("rollout_verbs", "rollout"),
        ("plans", "plans"),
        ("bisect", "bisect"),
        ("fleet", "status"),
        ("agents", "agents"),
        ("fleet", "watch"),
        ("admin", "namespaces audit"),
        ("cluster", "epoch cluster"),
        ("certificates", "certificate verify"),
        ("policies", "policy"),
        ("changes", "change"),
        ("freezes", "freeze"),
        ("tokens", "token whoami"),
        ("apply", "apply"),
        ("importing", "import"),
        ("exporting", "export"),
        ("database", "database"),
        ("backup", "backup"),
        ("execute", "exec"),
        ("contexts", "context login logout"),
        ("doctor", "doctor"),
        ("guides", "open explain man"),
    )
    for name in names.split()
}


class _Root(Group):
    """The group of all commands, with hints for the names that other programs use."""

    def resolve_command(
        self, context: click.Context, arguments: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if arguments[0] in _HINTS and not context.resilient_parsing:
            context.fail(f"No such command {arguments[0]!r}. Use {NAME} {_HINTS[arguments[0]]}.")
        return super().resolve_command(context, arguments)


@click.group(
    NAME,
    cls=_Root,
    commands=LazyCommands(_COMMANDS),
    epilog=_EPILOG,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
@click.version_option(confd.__version__, prog_name=NAME, message="%(prog)s %(version)s")
@common(root=True)
def cli() -> None:
    """
    Publish configurations to a fleet of agents, and follow them to the agents.

    \b
    Run "confdctl COMMAND --help" for the options and examples of a command.
    """


@click.command(
    "completion",
    cls=Command,
    short_help="Print a script that completes commands in your shell.",
    examples=[
        ("confdctl completion bash > ~/.local/share/bash-completion/completions/confdctl", "install it for bash"),
        ('eval "$(confdctl completion zsh)"', "put this line into ~/.zshrc"),
        ("confdctl completion fish > ~/.config/fish/completions/confdctl.fish", "install it for fish"),
    ],
)
@click.argument("shell", type=click.Choice(list(SHELLS)))
def completion(shell: str) -> None:
    """
    Print a script for SHELL that completes commands, options, files, and what the controller knows: namespaces,
    versions, agents and keys of the document. A controller that does not answer within a second completes nothing.
    """
    click.echo(SHELLS[shell](cli, {}, NAME, COMPLETE_VARIABLE).source().strip())


cli.add_command(completion)
