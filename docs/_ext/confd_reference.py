"""
Directives that generate the reference from the code.

C{confd-settings ROLE}, C{confd-api ROLE} and C{confd-metrics ROLE} ask the composed
role, not started; C{confd-commands} asks click.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from functools import cache
from itertools import groupby
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any

import click
import msgspec
from docutils import nodes
from docutils.statemachine import StringList
from prometheus_client.parser import text_string_to_metric_families
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective
from sphinx.util.parsing import nested_parse_to_nodes
from twisted.application.service import IService
from twisted.internet.task import Clock

import confd.agent.composition
import confd.controller.composition
import confd.worker.composition
from confd.cli.app import NAME, cli
from confd.cli.errors import Exit
from confd.controller.feed import Feed
from confd.controller.store.postgres.controllers import KnownControllers
from confd.controller.store.postgres.metrics import DatabaseCounts
from confd.controller.store.sqlite.store import SqliteStore
from confd.runtime.metrics import Metrics
from confd.runtime.options import read
from confd.runtime.setting import Setting, settings_of
from confd.runtime.settings import AgentSettings, ControllerSettings, DevSettings, WorkerSettings
from confd.web.server.site import BoundedSite, Limits
from tests.conversation import Conversation, Reply
from tests.reactors import InstantReactor

ROLES: Mapping[str, type] = {
    "controller": ControllerSettings,
    "agent": AgentSettings,
    "worker": WorkerSettings,
    "dev": DevSettings,
}

#: Settings under which a role shows all of its metrics and paths.
_FULL: Mapping[str, Mapping[str, str]] = {
    "controller": {"DISTRIBUTION_STRATEGY": "REDIS"},
    "agent": {"AGENT_LISTEN": "tcp:8081:interface=127.0.0.1"},
    "worker": {},
}

_BOUNDS: Mapping[str, str] = {
    "minimum": "at least",
    "exclusiveMinimum": "above",
    "maximum": "at most",
    "maxLength": "length at most",
    "default": "default",
}

_CODE = Path(confd.agent.composition.__file__).parents[1]

Lines = Iterator[str]


# -- asking the code --


def _compose(role: str, database: str) -> list[IService]:
    """Return the services of a role, not started."""
    reactor, settings = InstantReactor(), read(ROLES[role], {**_FULL[role], "DB_PATH": database}, {})
    compose = {
        "controller": confd.controller.composition.compose,
        "agent": confd.agent.composition.compose,
        "worker": confd.worker.composition.compose,
    }[role]
    composed = compose(reactor, settings, environ={})
    return composed if isinstance(composed, list) else composed.services


def _get(services: Sequence[IService], path: str) -> Reply:
    """Return the answer of a role, over HTTP in memory."""
    factories = [getattr(service, "factory", None) for service in services]
    [resource] = [factory.resource for factory in factories if isinstance(factory, BoundedSite)]
    clock = Clock()
    return Conversation(BoundedSite(clock, resource, Limits()), clock).get(path)


@cache
def api_document(role: str) -> Any:
    """Return the API document of a role."""
    return _get(_compose(role, ""), "/openapi.json").json


@cache
def metric_families(role: str) -> list[Any]:
    """Return the metrics of a role."""
    with TemporaryDirectory() as folder, ExitStack() as stack:
        services = _compose(role, f"{folder}/controller.db")
        for store in services:
            # Only the store has no metrics before it starts.
            if isinstance(store, SqliteStore):
                store.startService()
                stack.callback(store.close)
        found = list(text_string_to_metric_families(_get(services, "/metrics").body.decode()))
    if role == "controller":
        there = {each.name for each in found}
        more = text_string_to_metric_families(postgres_metrics().decode())
        found += [each for each in more if each.name not in there]
    return found


def postgres_metrics() -> bytes:
    """Return the metrics that only a controller on PostgreSQL has."""
    metrics = Metrics()
    DatabaseCounts().expose(metrics, bool, bool)
    KnownControllers().expose(metrics)
    Feed(Clock(), SimpleNamespace(interval=0.25), []).expose(metrics)
    return metrics.exposition()


@cache
def _labels() -> Mapping[str, Sequence[str]]:
    """Return the labels of each metric as the code declares them: a metric without a value shows none."""
    found: dict[str, Sequence[str]] = {}
    for module in _CODE.rglob("*.py"):
        for node in ast.walk(ast.parse(module.read_text("utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.args:
                words = [each.value if isinstance(each, ast.Constant) else None for each in node.args]
                if node.func.attr in ("gauge", "counter", "histogram") and isinstance(words[0], str):
                    found[words[0]] = [str(word) for word in words[3:]]
    return found


def labels_of(figure: str) -> Sequence[str]:
    """
    Return the labels of a metric.

    @raise KeyError: the code declares no such metric.
    """
    return _labels()[figure]


def setting_names(role: type) -> Iterator[str]:
    """Yield the environment variables of a role."""
    for each in settings_of(role):
        yield each.name
        if each.secret:
            yield each.file_name


# -- writing --


def settings_page(role: str) -> Lines:
    """The settings of a role."""
    for each in settings_of(ROLES[role]):
        yield from _setting(each)


def _setting(each: Setting) -> Lines:
    default = "unset" if each.default is None else f"``{each.default}``" if each.default else "empty"
    yield f"``{each.name}``, ``--{each.option}``"
    yield f"   {_text(each.help)} Default: {default}."
    if each.secret:
        yield f"   A secret: ``{each.file_name}`` can name a file that holds it."
    yield ""


def metrics_page(role: str) -> Lines:
    """The figures of a role."""
    yield from (".. list-table::", "   :header-rows: 1", "   :widths: 42 14 44", "", "   * - Metric and labels")
    yield from ("     - Type", "     - What it tells")
    for family in metric_families(role):
        if family.name.startswith("confd_"):
            yield f"   * - ``{metric_name(family)}``"
            if labels := labels_of(family.name):
                yield from ("", f"       {', '.join(f'*{label}*' for label in labels)}", "")
            yield f"     - {family.type}"
            yield f"     - {_text(family.documentation)}"
    yield ""


def metric_name(family: Any) -> str:
    """As it is asked for."""
    return f"{family.name}_total" if family.type == "counter" else family.name


def api_page(role: str) -> Lines:
    """The paths of a role, by their tags."""
    rows = [
        (operation["tags"][0], f"{method.upper()} {path}", operation)
        for path, item in api_document(role)["paths"].items()
        for method, operation in item.items()
    ]
    for tag, group in groupby(sorted(rows, key=lambda each: each[0]), key=lambda each: each[0]):
        yield from _heading(tag.capitalize(), "-")
        for _, name, operation in group:
            yield from _heading(f"``{name}``", "~")
            yield from _operation(operation, role)


def _operation(operation: Mapping[str, Any], role: str) -> Lines:
    who = [name for each in operation["security"] for name in each]
    yield from (f"{_text(operation['summary'])} *For {' and '.join(who) or 'anyone'}.*", "")
    yield from (_text(operation["description"]), "")
    for parameter in operation["parameters"]:
        need = ", required" if parameter.get("required") else ""
        said = _text(parameter.get("description", "")).rstrip(".")
        yield f"``{parameter['name']}`` ({parameter['in']}{need})"
        yield f"   {said}{': ' if said else ''}{_schema(parameter['schema'], role)}"
        yield ""
    if "requestBody" in operation:
        [content] = operation["requestBody"]["content"].values()
        yield from (f"Takes {_schema(content['schema'], role)}.", "")
        if "example" in content:
            yield from _block("json", msgspec.json.format(msgspec.json.encode(content["example"]), indent=2).decode())
    answers = {status: each for status, each in operation["responses"].items() if "$ref" not in each}
    for status, response in answers.items():
        yield from (f"* ``{status}`` {_answer(response, role)}",)
    yield ""
    audit_log = [
        f"{status} {_words(each['$ref'])}" for status, each in operation["responses"].items() if "$ref" in each
    ]
    if audit_log:
        yield from (f"Refusals: {', '.join(audit_log)}.", "")


def _answer(response: Mapping[str, Any], role: str) -> str:
    content = response.get("content", {}).items()
    shapes = [_schema(each["schema"], role) if "schema" in each else kind for kind, each in content]
    return f"{response['description']}{': ' if shapes else ''}{', '.join(shapes)}"


def schemas_page(role: str) -> Lines:
    """The shapes that a role takes and gives."""
    for name, schema in sorted(api_document(role)["components"]["schemas"].items()):
        yield from (f".. _{role}-{name}:", "")
        yield from _heading(f"``{name}``", "~")
        yield from (_text(schema.get("description", "")), "")
        for field, kind in schema.get("properties", {}).items():
            yield f"``{field}``"
            yield f"   {_schema(kind, role)}{'' if field in schema.get('required', ()) else ', optional'}"
            yield ""


def _schema(schema: Mapping[str, Any], role: str) -> str:
    """A JSON Schema in a few words; a shape of the role is a link to it."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f":ref:`{name} <{role}-{name}>`"
    if "anyOf" in schema:
        return " or ".join(dict.fromkeys(_schema(each, role) for each in schema["anyOf"]))
    if "enum" in schema:
        return " or ".join(f"``{each}``" for each in schema["enum"])
    kind = schema.get("type", "any value")
    if kind == "array":
        return f"array of {_schema(schema.get('items', {}), role)}"
    if isinstance(kind, list):
        kind = " or ".join(kind)
    bounds = [f"{words} {schema[key]}" for key, words in _BOUNDS.items() if schema.get(key) not in (None, "")]
    return ", ".join([kind, *bounds])


def commands_page() -> Lines:
    """The commands, as their own help tells of them."""
    yield from _help(cli, click.Context(cli, info_name=NAME, max_content_width=100))
    yield from _heading("Exit status", "-")
    for status in Exit:
        yield from (f"``{status.value}``", f"   {_text(status.meaning)}", "")


def _help(command: click.Command, context: click.Context, depth: int = 0) -> Lines:
    yield from _heading(f"``{context.command_path}``", "-~^"[depth])
    yield from _block("text", command.get_help(context))
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            found = command.get_command(context, name)
            assert found is not None
            below = click.Context(found, parent=context, info_name=name, max_content_width=100)
            yield from _help(found, below, min(depth + 1, 2))


def _heading(title: str, line: str) -> Lines:
    yield from (title, line * len(title), "")


def _block(language: str, text: str) -> Lines:
    yield from (f".. code-block:: {language}", "")
    yield from (f"   {line}".rstrip() for line in text.splitlines())
    yield ""


def _text(words: str) -> str:
    """Return prose of the code as reStructuredText on one line; single backquotes mark code."""
    whole = " ".join(words.split())
    parts = re.split(r"(`[^`]+`)", whole)
    return "".join(f"`{part}`" if part.startswith("`") else re.sub(r"([\\*_|<])", r"\\\1", part) for part in parts)


def _words(reference: str) -> str:
    """The name of a kind of refusal in words."""
    return re.sub(r"(?<!^)([A-Z])", r" \1", reference.rpartition("/")[2]).lower()


# -- Sphinx --


def _directive(page: Callable[..., Lines], arguments: int) -> type[SphinxDirective]:
    class Directive(SphinxDirective):
        required_arguments = arguments

        def run(self) -> list[nodes.Node]:
            text = StringList(list(page(*self.arguments)), f"<{page.__name__}>")
            return nested_parse_to_nodes(self.state, text, allow_section_headings=True)

    return Directive


def setup(app: Sphinx) -> dict[str, Any]:
    """What Sphinx calls."""
    for name, page, arguments in (
        ("confd-settings", settings_page, 1),
        ("confd-metrics", metrics_page, 1),
        ("confd-api", api_page, 1),
        ("confd-schemas", schemas_page, 1),
        ("confd-commands", commands_page, 0),
    ):
        app.add_directive(name, _directive(page, arguments))
    # The code may have changed where no page has.
    app.connect(
        "env-get-outdated", lambda _, env, *__: [name for name in env.found_docs if name.startswith("reference/")]
    )
    return {"parallel_read_safe": False}
