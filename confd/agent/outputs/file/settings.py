"""
From what an operator wrote to L{FileSpec}: one reader for environment variables and for C{outputs.toml}.

All mistakes are found at the start of the agent, one sentence each.
"""

from __future__ import annotations

import grp
import ipaddress
import os
import pwd
import re
import shutil
import signal
import stat
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from attrs import define, field

from confd.agent.outputs.file.commands import DEFAULT_PATH, split_command
from confd.agent.outputs.file.formats import WRITERS, format_of
from confd.agent.outputs.file.ownership import Untrusted, check_program
from confd.agent.outputs.file.spec import FileSpec
from confd.codec.values import RenderError, valid_pointer
from confd.interfaces import Action, HealthCheck

if TYPE_CHECKING:
    from confd.agent.outputs.file.templates import Template

#: Least and greatest value of each number, and the default.
_NUMBERS = {
    "probe_within": (1, 300, 10),
    "timeout": (1, 600, 30),
    "health_interval": (1, 3600, 10),
    "health_failures": (1, 100, 3),
    "health_timeout": (1, 60, 5),
}
_FLAGS = {"in_place": False, "keep_refused": False, "report_words": True}
_TEXTS = ("name", "path", "format", "template", "pointer", "mode", "owner", "group")
_ACTIONS = ("check", "test", "reload", "probe", "health")

#: Every key of a file.
KEYS = frozenset([*_NUMBERS, *_FLAGS, *_TEXTS, *_ACTIONS])
#: The keys of the HTTP output.
HEALTH_KEYS = frozenset(["health", "health_interval", "health_failures", "health_timeout"])

_NAME = re.compile(r"[a-z0-9-]{1,32}", re.ASCII)
_UNIT = re.compile(r"[A-Za-z0-9:_.@\\-]{1,255}\.[a-z]+", re.ASCII)


@define(eq=False)
class SpecReader:
    """
    Reads one file, and collects the mistakes.

    @ivar raw: the values by key, without unset ones.
    @ivar label: returns how the operator calls a key, such as C{FILE_CHECK}.
    @ivar path: C{PATH} of the agent, where programs without a folder are looked for.
    @ivar host: host name of the machine, for templates.
    @ivar metadata: C{AGENT_METADATA} as a mapping, for templates.
    @ivar mistakes: one sentence for each, which begins with the label.
    """

    raw: Mapping[str, object]
    label: Callable[[str], str]
    path: str = DEFAULT_PATH
    host: str = ""
    metadata: Mapping[str, str] = field(factory=dict)
    mistakes: list[str] = field(factory=list, init=False)

    def spec(self) -> FileSpec | None:
        """Return the file; C{None} if there are mistakes."""
        for key in sorted(self.raw.keys() - KEYS):
            self._wrong(key, "is not a setting of a file output")
        path = self._file_path()
        template = self._template()
        found = FileSpec(
            name=self._name(path),
            path=path,
            format=self._format(path),
            template=template,
            pointer=self._pointer(),
            mode=self._mode(),
            owner=self._owner("owner", lambda name: pwd.getpwnam(name).pw_uid),
            group=self._owner("group", lambda name: grp.getgrnam(name).gr_gid),
            check=self._check(),
            test=self._action("test"),
            reload=self._action("reload", urls=True, kinds=True),
            probe=self._action("probe", urls=True),
            probe_within=self._number("probe_within"),
            timeout=self._number("timeout"),
            health=self.health(),
            in_place=self._flag("in_place"),
            keep_refused=self._flag("keep_refused"),
            report_words=self._flag("report_words"),
        )
        if path and not self._flag("in_place") and _is_mount_point(path):
            self._wrong("path", f"{path} is a mount point; mount its folder instead, or set {self._in_place_hint()}")
        return None if self.mistakes else found

    def health(self) -> HealthCheck | None:
        """Return the health check; C{None} without one."""
        interval, limit = self._number("health_interval"), self._number("health_timeout")
        action = self._action("health", urls=True)
        if action is None:
            return None
        if limit > interval:
            self._wrong("health_timeout", f"is longer than {self.label('health_interval')}")
        return HealthCheck(action, interval, int(self._number("health_failures")), limit)

    # -- parts --

    def _wrong(self, key: str, reason: str) -> None:
        self.mistakes.append(f"{self.label(key)}: {reason.rstrip('.')}.")

    def _in_place_hint(self) -> str:
        label = self.label("in_place")
        return f"{label}=true" if label.isupper() else "in_place = true"

    def _text(self, key: str, default: str = "") -> str:
        value = self.raw.get(key, default)
        if isinstance(value, str):
            return value
        self._wrong(key, "is not a text")
        return default

    def _number(self, key: str) -> float:
        low, high, default = _NUMBERS[key]
        value = self.raw.get(key, default)
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            self._wrong(key, f"is not a whole number from {low} to {high}")
            return float(default)
        return float(value)

    def _flag(self, key: str) -> bool:
        value = self.raw.get(key, _FLAGS[key])
        if not isinstance(value, bool):
            self._wrong(key, "is not true or false")
            return _FLAGS[key]
        return value

    def _file_path(self) -> str:
        """Return the path; an empty text if the path is wrong."""
        path = self._text("path")
        wrong = _path_mistake(path)
        if wrong is None:
            return path
        self._wrong("path", wrong)
        return ""

    def _name(self, path: str) -> str:
        if "name" not in self.raw:
            return re.sub(r"[^a-z0-9-]+", "-", os.path.basename(path).lower()).strip("-")[:32] or "file"
        name = self._text("name")
        if not _NAME.fullmatch(name) or name == "http":
            self._wrong("name", f"{name!r} is not a name of 1 to 32 lower-case letters, digits and dashes")
        return name

    def _format(self, path: str) -> str:
        if "template" in self.raw:
            if "format" in self.raw:
                self._wrong("format", f"excludes {self.label('template')}; keep one of them")
            return "raw"
        if "format" in self.raw:
            name = self._text("format").lower()
            if name not in WRITERS:
                self._wrong("format", f"{name!r} is not one of {', '.join(WRITERS)}")
            return name
        found = format_of(path)
        if found is None and path:
            self._wrong("format", f"the suffix of {path} names no format; set it to one of {', '.join(WRITERS)}")
        return found or "json"

    def _template(self) -> Template | None:
        path = self._text("template")
        if not path:
            return None
        try:
            templates = import_module("confd.agent.outputs.file.templates")
        except ImportError:
            self._wrong("template", "needs Jinja2; install it with: pip install 'confd[templates]'")
            return None
        if not os.path.isabs(path):
            self._wrong("template", f"{path!r} is not an absolute path")
            return None
        template: Template = templates.Template(path, self.host, self.metadata)
        try:
            template.check()
        except (Untrusted, RenderError) as error:
            self._wrong("template", str(error))
        return template

    def _pointer(self) -> str:
        pointer = self._text("pointer")
        if not valid_pointer(pointer):
            self._wrong("pointer", f"{pointer!r} is not a JSON pointer, such as /servers/0")
        return pointer

    def _mode(self) -> int:
        text = self._text("mode", "0600")
        if not re.fullmatch(r"0?[0-7]{3}", text):
            self._wrong("mode", f"{text!r} is not a mode in octal, such as 0644")
            return 0o600
        return int(text, 8)

    def _owner(self, key: str, find: Callable[[str], int]) -> int | None:
        name = self._text(key)
        if not name:
            return None
        if name.isascii() and name.isdigit():
            return int(name)
        try:
            return find(name)
        except KeyError:
            self._wrong(key, f"{name!r} does not exist on this machine")
            return None

    def _check(self) -> Action | None:
        action = self._action("check")
        if action is not None and not any("{path}" in each for each in action.arguments[1:]):
            test = self.label("test")
            self._wrong(
                "check", f"has no {{path}}; the check would not see the new file. Use {test} for a check in place"
            )
        return action

    def _action(self, key: str, urls: bool = False, kinds: bool = False) -> Action | None:
        value = self.raw.get(key)
        if value is None or value == "":
            return None
        if isinstance(value, str):
            if urls and value.startswith(("http://", "https://")):
                return self._url(key, value)
            if kinds and value.startswith("systemd:"):
                return self._unit(key, value.removeprefix("systemd:"))
            if kinds and value.startswith("signal:"):
                return self._signal(key, value.removeprefix("signal:"))
            try:
                return self._command(key, split_command(value))
            except ValueError as error:
                self._wrong(key, str(error))
                return None
        if isinstance(value, Sequence) and value and all(isinstance(each, str) and each for each in value):
            return self._command(key, value)
        self._wrong(key, "is not a command: write an array of texts")
        return None

    def _command(self, key: str, words: Sequence[str]) -> Action | None:
        program = words[0] if "/" in words[0] else shutil.which(words[0], path=self.path) or words[0]
        try:
            if not os.path.isabs(program):
                raise Untrusted(program, "is not an executable file.")
            check_program(program)
        except Untrusted as error:
            self._wrong(key, str(error))
        except OSError as error:
            self._wrong(key, f"{program}: {error.strerror}")
        return Action("command", (program, *words[1:]))

    def _url(self, key: str, url: str) -> Action | None:
        try:
            parts = urlsplit(url)
            host, _ = parts.hostname or "", parts.port
        except ValueError:
            self._wrong(key, f"{url!r} is not a URL")
            return None
        if not _is_loopback(host):
            self._wrong(key, f"{url} is not on this machine; name a host such as 127.0.0.1")
        if parts.username is not None:
            self._wrong(key, "holds credentials, which a request on this machine does not need")
        if not url.isascii() or not url.isprintable() or " " in url:
            self._wrong(key, f"{url!r} is not a URL")
        return Action("http", (url,))

    def _unit(self, key: str, unit: str) -> Action | None:
        if not _UNIT.fullmatch(unit):
            self._wrong(key, f"{unit!r} is not a unit, such as nginx.service")
        return Action("systemd", (unit,))

    def _signal(self, key: str, text: str) -> Action | None:
        name, _, path = text.partition(":")
        name = name.upper().removeprefix("SIG")
        if f"SIG{name}" not in signal.Signals.__members__ or not os.path.isabs(path):
            self._wrong(key, f"'signal:{text}' is not a signal and a pid file, such as signal:HUP:/run/x.pid")
        return Action("signal", (name, path))


def _path_mistake(path: str) -> str | None:
    if not path:
        return "is not set; name the file to write"
    if not os.path.isabs(path) or "\0" in path or path.endswith("/"):
        return f"{path!r} is not the absolute path of a file"
    if not os.path.isdir(os.path.dirname(path)):
        return f"the folder {os.path.dirname(path)} does not exist"
    if len(os.path.basename(path).encode()) > 240:
        return "the name of the file has more than 240 bytes"
    try:
        regular = stat.S_ISREG(os.lstat(path).st_mode)
    except FileNotFoundError:
        return None
    except OSError as error:
        return f"{path}: {error.strerror}"
    return None if regular else f"{path} is not a regular file; name the file itself"


def _is_loopback(host: str) -> bool:
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _is_mount_point(path: str) -> bool:
    """Return whether something is mounted at a path itself, as containers mount single files."""
    try:
        with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as lines:
            return any(_unescape(line.split(" ")[4]) == os.path.realpath(path) for line in lines)
    except (OSError, IndexError):
        return os.path.ismount(path)


def _unescape(text: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), text)
