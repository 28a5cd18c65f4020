"""From settings to the outputs of an agent."""

from __future__ import annotations

import hashlib
import os
import socket
import tomllib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from random import Random
from typing import cast

from attrs import define, evolve, frozen
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from confd.agent.outputs.base import OutputSet
from confd.agent.outputs.composed import Outputs
from confd.agent.outputs.context import BuiltInContext
from confd.agent.outputs.file.actions import ActionRunner
from confd.agent.outputs.file.commands import DEFAULT_PATH
from confd.agent.outputs.file.marker import Marker
from confd.agent.outputs.file.output import FileOutput
from confd.agent.outputs.file.ownership import Untrusted, check_file
from confd.agent.outputs.file.settings import HEALTH_KEYS, KEYS, SpecReader
from confd.agent.outputs.file.spec import FileSpec
from confd.agent.outputs.health import Monitored
from confd.agent.plugin import output_makers
from confd.errors import StartError
from confd.interfaces import HealthCheck, IOutput, IOutputMaker, IWorkerClient
from confd.runtime.files import read_file
from confd.runtime.offload import RunInThread
from confd.runtime.settings import AgentSettings

log = Logger()

#: Bytes that a file of outputs may have.
_MAX_BYTES = 1024 * 1024


@frozen
class Plan:
    """
    What the settings say.

    @ivar files: the file outputs in order.
    @ivar http: whether the worker is an output.
    @ivar http_health: the health check of the worker.
    @ivar plugins: names of the outputs that other packages provide.
    @ivar splay: longest delay before the first commit, in seconds.
    @ivar retry: seconds before a failed step is tried again.
    """

    files: Sequence[FileSpec]
    http: bool
    http_health: HealthCheck | None
    plugins: Sequence[str]
    splay: float
    retry: float

    @property
    def count(self) -> int:
        """The number of outputs."""
        return len(self.files) + self.http + len(self.plugins)


def read_plan(
    settings: AgentSettings, environ: Mapping[str, str], makers: Mapping[str, IOutputMaker] | None = None
) -> Plan:
    """
    Return what the settings say of the outputs.

    @param environ: of the agent; C{PATH} finds programs without a folder.
    @param makers: the outputs by name; by default the installed ones.
    @raise StartError: with one sentence for each mistake.
    """
    known = output_makers() if makers is None else makers
    return _PlanReader(settings, environ.get("PATH") or DEFAULT_PATH, known).read()


@define(eq=False)
class _PlanReader:
    settings: AgentSettings
    path: str
    known: Mapping[str, IOutputMaker]

    def read(self) -> Plan:
        settings, mistakes = self.settings, []
        for name in settings.outputs:
            if name not in self.known:
                choice = ", ".join(sorted(self.known))
                mistakes.append(f"OUTPUTS: {name!r} is not an output; choose from {choice}.")
        if not settings.outputs:
            mistakes.append("OUTPUTS: names no output; choose from HTTP and FILE.")
        files: list[FileSpec] = []
        splay, retry = float(settings.file_splay), float(settings.file_retry)
        http_health = self._http_health({}, mistakes) if settings.outputs_file is None else None
        if "FILE" not in settings.outputs:
            mistakes += self._unused()
        elif settings.outputs_file is None:
            files = self._file(mistakes)
        else:
            mistakes += self._excluded()
            table = self._table(settings.outputs_file, mistakes)
            files = self._table_files(table, mistakes)
            splay = self._number(table, "splay", 600, splay, mistakes)
            retry = self._number(table, "retry", 3600, retry, mistakes)
            http_health = self._http_health(table.get("http", {}), mistakes)
        if mistakes:
            raise StartError(*dict.fromkeys(mistakes))
        plugins = [each for each in settings.outputs if each not in ("HTTP", "FILE")]
        return Plan(files, "HTTP" in settings.outputs, http_health, plugins, splay, retry)

    def _unused(self) -> list[str]:
        return [
            f"{name}: is set, and OUTPUTS does not name FILE; set OUTPUTS=FILE."
            for name, value in (
                ("FILE_PATH", self.settings.file_path),
                ("OUTPUTS_FILE", self.settings.outputs_file),
            )
            if value
        ]

    def _excluded(self) -> list[str]:
        texts = ("path", "format", "template", "check", "test", "reload", "probe", "health")
        return [
            f"FILE_{each.upper()}: OUTPUTS_FILE is set, too; describe all files there."
            for each in texts
            if getattr(self.settings, f"file_{each}")
        ]

    def _file(self, mistakes: list[str]) -> list[FileSpec]:
        values = {each: getattr(self.settings, f"file_{each}") for each in KEYS - {"name"}}
        raw = {key: value for key, value in values.items() if value is not None and value != ""}
        reader = self._reader(raw, lambda key: f"FILE_{key.upper()}")
        found = reader.spec()
        mistakes += reader.mistakes
        return [found] if found is not None else []

    def _reader(self, raw: Mapping[str, object], label: Callable[[str], str]) -> SpecReader:
        pieces = (each.partition("=") for each in self.settings.agent_metadata.split(","))
        metadata = {key.strip(): value.strip() for key, _, value in pieces if key.strip()}
        return SpecReader(raw, label, self.path, socket.gethostname(), metadata)

    def _table(self, path: str, mistakes: list[str]) -> Mapping[str, object]:
        try:
            content, _ = read_file(path, _MAX_BYTES)
            check_file(path)
            return tomllib.loads(content.decode())
        except OSError as error:
            mistakes.append(f"OUTPUTS_FILE: {path} cannot be read: {error.strerror}.")
        except Untrusted as error:
            mistakes.append(f"OUTPUTS_FILE: {error}")
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            mistakes.append(f"OUTPUTS_FILE: {path} is not TOML: {error}.")
        return {}

    def _table_files(self, table: Mapping[str, object], mistakes: list[str]) -> list[FileSpec]:
        if mistakes and not table:
            return []
        for key in sorted(table.keys() - {"splay", "retry", "file", "http"}):
            mistakes.append(f"OUTPUTS_FILE: {key!r} is not a setting; known are splay, retry, [[file]] and [http].")
        entries = table.get("file")
        if not isinstance(entries, list) or not entries or not all(isinstance(each, dict) for each in entries):
            mistakes.append("OUTPUTS_FILE: describes no file; begin each one with [[file]].")
            return []
        found, names, paths = [], set(), set()
        for number, raw in enumerate(entries, 1):
            title = raw.get("name") or raw.get("path") or f"number {number}"
            reader = self._reader(raw, lambda key, title=title: f"OUTPUTS_FILE: file {title}: {key}")  # type: ignore[misc]
            spec = reader.spec()
            mistakes += reader.mistakes
            if spec is None:
                continue
            if spec.name in names:
                mistakes.append(f"OUTPUTS_FILE: two files have the name {spec.name!r}; set name of one of them.")
            if os.path.realpath(spec.path) in paths:
                mistakes.append(f"OUTPUTS_FILE: two files have the path {spec.path}.")
            names.add(spec.name)
            paths.add(os.path.realpath(spec.path))
            found.append(spec)
        return found

    def _number(self, table: Mapping[str, object], key: str, high: int, default: float, mistakes: list[str]) -> float:
        value = table.get(key, default)
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= high:
            mistakes.append(f"OUTPUTS_FILE: {key}: is not a number from 0 to {high}.")
            return default
        return float(value)

    def _http_health(self, table: object, mistakes: list[str]) -> HealthCheck | None:
        raw: dict[str, object]
        if isinstance(table, dict) and table:
            raw, label = dict(table), lambda key: f"OUTPUTS_FILE: http: {key}"
            for key in sorted(raw.keys() - HEALTH_KEYS):
                mistakes.append(f"OUTPUTS_FILE: http: {key!r} is not a setting of the HTTP output.")
        else:
            raw = {key: getattr(self.settings, f"http_{key}") for key in HEALTH_KEYS}
            label = lambda key: f"HTTP_{key.upper()}"  # noqa: E731
        reader = self._reader(raw, label)
        found = reader.health()
        mistakes += reader.mistakes
        return found


def build_outputs(
    clock: IReactorTime,
    in_thread: RunInThread,
    plan: Plan,
    settings: AgentSettings,
    environ: Mapping[str, str],
    client: IWorkerClient,
    random: Random,
    makers: Mapping[str, IOutputMaker] | None = None,
) -> Outputs:
    """
    Build the outputs of a plan; nothing is opened.

    @param client: reaches the worker.
    @param random: the source of the splay.
    @param makers: the outputs by name; by default the installed ones.
    @raise StartError: if the settings of an output are wrong, or two outputs have the same name.
    """
    marker = Marker(f"{settings.cache_file}.outputs")
    runner = ActionRunner(clock, in_thread, environ)
    if not plan.files and not plan.plugins:
        return Outputs(client, None, (), runner, marker)
    makers = output_makers() if makers is None else makers
    context = BuiltInContext(
        clock,
        settings.namespace,
        environ,
        in_thread,
        settings.cache_file,
        worker=client,
        worker_health=plan.http_health,
        marker=marker,
        runner=runner,
    )
    files = [cast(FileOutput, makers["FILE"].make(evolve(context, spec=spec))) for spec in plan.files]
    others = [makers[name].make(context) for name in plan.plugins]
    http = makers["HTTP"].make(context) if plan.http else None
    _check_names([*files, *others, *([http] if http is not None else [])])
    identity = hashlib.sha256(repr(plan).encode()).hexdigest()
    outputs = OutputSet(clock, [*files, *others], http, identity, lambda: random.uniform(0, plan.splay), plan.retry)
    return Outputs(outputs, outputs, files, runner, marker)


def _check_names(outputs: Sequence[IOutput]) -> None:
    """
    Check that no two outputs have the same name.

    @raise StartError: for each name that is used twice.
    """
    count = Counter(each.name for each in outputs)
    twice = [name for name, number in count.items() if number > 1]
    if twice:
        raise StartError(*(f"OUTPUTS: two outputs have the name {name!r}; rename one of them." for name in twice))


def monitored_outputs(
    outputs: Outputs, plan: Plan, in_thread: RunInThread, document: Callable[[], str]
) -> list[Monitored]:
    """
    Return the outputs that have a health check, in the order of the set.

    @param document: returns the checksum of the applied document, by which outputs other than files tell a change.
    """
    found = [
        _monitored(outputs, each.name, each.path, each.health, lambda each=each: each.content, in_thread, each.words)  # type: ignore[misc]
        for each in outputs.files
        if each.health is not None
    ]
    for each in outputs.others:
        if each.health is not None:
            found.append(_monitored(outputs, each.name, "", each.health, document, in_thread))
    if plan.http and plan.http_health is not None:
        found.append(_monitored(outputs, "http", "", plan.http_health, document, in_thread))
    return found


def _monitored(
    outputs: Outputs,
    name: str,
    path: str,
    check: HealthCheck,
    content: Callable[[], str],
    in_thread: RunInThread,
    words: bool = True,
) -> Monitored:
    runner, marker = outputs.runner, outputs.marker
    assert runner is not None
    assert marker is not None

    def run() -> Deferred[None]:
        return runner.run(name, "health", check.action, {"CONFD_FILE": path}, check.timeout, words)

    def save(words: str) -> None:
        marker.change(name, path, lambda entry: evolve(entry, healthy=not words, words=words))

    def keep(words: str) -> Deferred[None]:
        return in_thread(save, words).addErrback(
            lambda failure: log.warn("{path}: {reason}", path=marker.path, reason=failure.getErrorMessage())
        )

    return Monitored(name, check, run, content, keep, lambda: marker.entry(name, path).words)
