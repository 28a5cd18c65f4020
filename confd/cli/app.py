"""C{confdctl} and its commands."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

import confd
from confd.cli.command import Command, Group
from confd.cli.commands import admin, agents, configs
from confd.cli.commands.doctor import doctor
from confd.cli.commands.importing import import_
from confd.cli.errors import Exit
from confd.cli.session import common

NAME = "confdctl"
COMPLETE_VARIABLE = "_CONFDCTL_COMPLETE"

_EPILOG = """
\b
First steps:
  confdctl status                        what is in force, and who has it
  confdctl set url=https://example.com   change it: shows the difference, and asks
  confdctl watch                         see it arrive
  confdctl rollback 1                    and go back

\b
Which controller, as whom: options, or the environment (CONFD_URL, ADMIN_USERNAME, ADMIN_PASSWORD,
ADMIN_PASSWORD_FILE, CONFD_CA_FILE, CONFD_NAMESPACE, CONFD_PROFILE), or ~/.config/confd/config.toml:
  [profiles.prod]
  url = "https://confd.example.com"
  username = "admin"
  password_file = "prod.password"
  ca_file = "prod.pem"
  namespace = "edge"
A profile named by --profile wins over the environment; the profile "default" is used where none is named.

\b
Status:
""" + "\n".join(f"  {each.value:>3}  {each.meaning}" for each in Exit)


@click.group(
    NAME, cls=Group, epilog=_EPILOG, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110}
)
@click.version_option(confd.__version__, prog_name=NAME, message="%(prog)s %(version)s")
@common(root=True)
def cli() -> None:
    """
    Change the configuration of a fleet, and see what became of it.

    \b
    confdctl COMMAND --help has examples of each command.
    """


@click.command(
    "completion",
    cls=Command,
    short_help="What makes your shell complete commands.",
    examples=[
        ("confdctl completion bash > ~/.local/share/bash-completion/completions/confdctl", "for good, in bash"),
        ('eval "$(confdctl completion zsh)"', "in ~/.zshrc"),
        ("confdctl completion fish > ~/.config/fish/completions/confdctl.fish", "in fish"),
    ],
)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print a script for SHELL that completes commands, options and their values."""
    script = get_completion_class(shell)
    assert script is not None
    click.echo(script(cli, {}, NAME, COMPLETE_VARIABLE).source())


for _command in (
    configs.get, configs.set_, configs.history, configs.diff, configs.rollback,
    agents.status, agents.agents, agents.watch,
    admin.namespaces, admin.audit, admin.epoch, admin.cluster, import_, doctor, completion,
):  # fmt: skip
    cli.add_command(_command)
