"""The settings of C{confd-agent} that say where a configuration goes."""

from __future__ import annotations

from attrs import frozen

from confd.runtime.setting import setting
from confd.runtime.setting_types import flag, names, whole
from confd.runtime.settings.shared import BrokerSettings


def _outputs(text: str) -> tuple[str, ...]:
    found = tuple(each.upper() for each in names(text))
    if len(set(found)) != len(found):
        raise ValueError("names an output twice")
    return found


@frozen
class OutputSettings(BrokerSettings):
    """The settings of the outputs; L{confd.agent.outputs.factories} judges paths, commands and formats."""

    outputs: tuple[str, ...] = setting(
        "OUTPUTS", "Comma-separated outputs: HTTP (the worker), FILE, or the name of a plug-in.", "HTTP", _outputs
    )
    outputs_file: str | None = setting(
        "OUTPUTS_FILE", "TOML file that describes several file outputs, instead of the FILE_ settings.", None
    )
    file_path: str | None = setting("FILE_PATH", "Absolute path of the file to write. The folder must exist.", None)
    file_format: str | None = setting(
        "FILE_FORMAT",
        "Format of the file: json, yaml, toml, properties, ini, env or raw. The suffix of the path is the default.",
        None,
    )
    file_template: str | None = setting(
        "FILE_TEMPLATE", "Jinja2 template of the file, instead of a format. Needs confd[templates].", None
    )
    file_pointer: str = setting("FILE_POINTER", "JSON pointer to the part of the document to write.", "")
    file_mode: str = setting("FILE_MODE", "Permission bits of the file, in octal.", "0600")
    file_owner: str | None = setting("FILE_OWNER", "Owner of the file. The agent's user is the default.", None)
    file_group: str | None = setting("FILE_GROUP", "Group of the file. The agent's group is the default.", None)
    file_check: str | None = setting(
        "FILE_CHECK", "Command that checks the new file at {path} before the old file is replaced.", None
    )
    file_test: str | None = setting("FILE_TEST", "Command that checks the file in place, before the reload.", None)
    file_reload: str | None = setting(
        "FILE_RELOAD",
        "Action that makes the program read the file: a command, systemd:UNIT, http://127.0.0.1:PORT/PATH,"
        " or signal:NAME:/PIDFILE.",
        None,
    )
    file_probe: str | None = setting("FILE_PROBE", "Command or loopback URL that must succeed after the reload.", None)
    file_probe_within: int = setting(
        "FILE_PROBE_WITHIN", "Seconds in which the probe must succeed.", "10", whole(1, 300)
    )
    file_timeout: int = setting("FILE_TIMEOUT", "Time limit of each command, in seconds.", "30", whole(1, 600))
    file_splay: int = setting(
        "FILE_SPLAY", "Longest random delay before the file is replaced, in seconds.", "0", whole(0, 600)
    )
    file_retry: int = setting(
        "FILE_RETRY",
        "Seconds before a failed test, reload or probe is tried again. Doubles up to an hour; 0 never tries again.",
        "60",
        whole(0, 3600),
    )
    file_health: str | None = setting(
        "FILE_HEALTH", "Command or loopback URL that tells whether the program still works.", None
    )
    file_health_interval: int = setting(
        "FILE_HEALTH_INTERVAL", "Seconds between two health checks.", "10", whole(1, 3600)
    )
    file_health_failures: int = setting(
        "FILE_HEALTH_FAILURES", "Failed health checks in a row until the report becomes failed.", "3", whole(1, 100)
    )
    file_health_timeout: int = setting(
        "FILE_HEALTH_TIMEOUT", "Time limit of one health check, in seconds.", "5", whole(1, 60)
    )
    file_in_place: bool = setting(
        "FILE_IN_PLACE", "Overwrite the file, as a bind mount needs it. This is not atomic.", "false", flag
    )
    file_keep_refused: bool = setting(
        "FILE_KEEP_REFUSED", "Keep a rejected file in CACHE_FILE.outputs.d, with mode 0600.", "false", flag
    )
    file_report_words: bool = setting(
        "FILE_REPORT_WORDS", "Whether logs and reports carry what commands print.", "true", flag
    )
    http_health: str | None = setting(
        "HTTP_HEALTH", "Command or loopback URL that tells whether the worker still works.", None
    )
    http_health_interval: int = setting(
        "HTTP_HEALTH_INTERVAL", "Seconds between two health checks of the worker.", "10", whole(1, 3600)
    )
    http_health_failures: int = setting(
        "HTTP_HEALTH_FAILURES",
        "Failed health checks of the worker in a row until the report becomes failed.",
        "3",
        whole(1, 100),
    )
    http_health_timeout: int = setting(
        "HTTP_HEALTH_TIMEOUT", "Time limit of one health check of the worker, in seconds.", "5", whole(1, 60)
    )

    @property
    def only_worker(self) -> bool:
        """Whether the worker is the only output, and has no health check."""
        others = (self.outputs_file, self.file_path, self.http_health)
        return self.outputs == ("HTTP",) and not any(others)
