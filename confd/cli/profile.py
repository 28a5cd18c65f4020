"""Resolve the address, the credentials and the namespace from options, environment and profiles."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

from attrs import evolve, field, frozen

from confd.access.tokens import SECRET
from confd.cli.errors import CommandError, Exit
from confd.cli.stored import read_context, read_tokens
from confd.client.forward_proxy import ForwardProxy, parse_only_proxy, read_proxies
from confd.codec.text import printable
from confd.model import DEFAULT_NAMESPACE
from confd.runtime.addresses import is_loopback
from confd.runtime.files import read_file_or_pipe
from confd.runtime.setting_types import namespace, secret_from, url, user_name

#: Keys of a profile that are used only together with its URL.
_WITH_URL = ("username", "password_file", "token_file", "ca_file")
#: All keys of a profile.
KEYS = ("url", *_WITH_URL, "namespace")

#: The environment variable of each key.
_VARIABLES = {
    "url": "CONFD_URL",
    "username": "ADMIN_USERNAME",
    "password": "ADMIN_PASSWORD",
    "password_file": "ADMIN_PASSWORD_FILE",
    "token": "CONFD_TOKEN",
    "token_file": "CONFD_TOKEN_FILE",
    "ca_file": "CONFD_CA_FILE",
    "namespace": "CONFD_NAMESPACE",
}

#: Variables that the name with the prefix C{CONFD_} replaces; a secret and its file are one setting.
_PREFIXED = (
    ("ADMIN_USERNAME",),
    ("ADMIN_PASSWORD", "ADMIN_PASSWORD_FILE"),
    ("CONTROLLER_PROXY", "CONTROLLER_PROXY_FILE"),
)

#: Keys of credentials: any of them in one source hides all of them in the sources below.
_SECRETS = frozenset({"password", "password_file", "token", "token_file"})

_DEFAULTS = {"url": "http://localhost:8080", "username": "admin", "namespace": DEFAULT_NAMESPACE}
_BUILT_IN_PASSWORD = "admin123"
_DEFAULT_PROFILE = "default"
_MAX_CONFIG_BYTES = 65536


@frozen
class Profile:
    """
    The address of a controller, and the credentials for it.

    @ivar password: C{None} if the user must be asked, or a token is sent.
    @ivar token: the secret of an API token, which is sent in place of user name and password; C{None} for no token.
    @ivar origins: for each key, the option, variable or profile that it came from.
    @ivar remarks: warnings for the user, one sentence each.
    @ivar proxy: the forward proxy; C{None} for a direct connection.
    """

    url: str
    username: str
    password: str | None = field(repr=False)
    ca_file: str | None
    namespace: str
    origins: Mapping[str, str]
    remarks: tuple[str, ...] = ()
    proxy: ForwardProxy | None = None
    token: str | None = field(default=None, repr=False)

    @property
    def loopback(self) -> bool:
        """Whether requests stay on this machine."""
        return is_loopback(urlsplit(self.url).hostname or "")


@frozen
class _Layer:
    """The values of one source, and its name."""

    name: str
    values: Mapping[str, str]
    profile: bool = False

    def origin(self, key: str) -> str:
        if self.profile:
            return f"{key} of {self.name}"
        return {"options": f"--{key.replace('_', '-')}", "environment": _VARIABLES[key]}.get(self.name, self.name)


def resolve(given: Mapping[str, str], environ: Mapping[str, str]) -> Profile:
    """
    Return the profile to use.

    The order of precedence: options, the profile that C{--profile} names, the environment, and the profile that
    C{CONFD_PROFILE} or C{confdctl context use} names, or C{default}; last comes the token of C{confdctl login}.

    @param given: the options: C{profile}, and any of L{KEYS}.
    @raise CommandError: names the option, variable or key that is wrong.
    """
    original, environ = environ, _bare(environ)
    path = config_file(environ)
    name = chosen_profile(path, given, environ)
    profile = _profile(path, name)
    options = _Layer("options", {key: text for key, text in given.items() if key != "profile"})
    variables = _Layer("environment", {key: environ[name] for key, name in _VARIABLES.items() if name in environ})
    layers = [options, profile, variables] if given.get("profile") else [options, variables, profile]
    values, origins = _pick([*layers, _Layer("the default", _DEFAULTS)])
    origins = {key: _set_name(name, original) for key, name in origins.items()}
    remarks: list[str] = []
    _add_stored_token(path, values, origins, remarks)
    token = _secret("token", values, origins, remarks)
    if token is not None and SECRET.fullmatch(token.encode("utf-8", "surrogateescape")) is None:
        raise CommandError(
            Exit.USAGE, f"{origins['token']}: is no API token; copy the whole line that confdctl token create prints."
        )
    password = None if token is not None else _secret("password", values, origins, remarks)
    for key, parse in (("url", url), ("username", user_name), ("namespace", namespace)):
        try:
            values[key] = parse(values[key])
        except ValueError as error:
            # Without the value: a URL may hold a password.
            raise CommandError(Exit.USAGE, f"{origins[key]}: {error}.") from None
    target = Profile(
        values["url"],
        values["username"],
        password,
        values.get("ca_file"),
        values["namespace"],
        origins,
        tuple(remarks),
        _proxy(values["url"], environ, original),
        token,
    )
    if password is None and token is None and target.loopback:
        return evolve(target, password=_BUILT_IN_PASSWORD, origins=origins | {"password": "the built-in password"})
    return target


def chosen_profile(path: Path, given: Mapping[str, str], environ: Mapping[str, str]) -> str | None:
    """Return the profile that C{--profile}, C{CONFD_PROFILE} or C{confdctl context use} names; C{None} without one."""
    return given.get("profile") or environ.get("CONFD_PROFILE") or read_context(path)


def _bare(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that are set; a prefixed name such as C{CONFD_ADMIN_PASSWORD} replaces the bare one."""
    found = {name: text for name, text in environ.items() if text}
    for names in _PREFIXED:
        prefixed = {name: found[f"CONFD_{name}"] for name in names if f"CONFD_{name}" in found}
        if prefixed:
            found = {name: text for name, text in found.items() if name not in names} | prefixed
    return found


def _set_name(name: str, original: Mapping[str, str]) -> str:
    """Return the name under which a variable was set: with the prefix, where that is set."""
    return f"CONFD_{name}" if original.get(f"CONFD_{name}") else name


def _proxy(address: str, environ: Mapping[str, str], original: Mapping[str, str]) -> ForwardProxy | None:
    """
    Return the proxy on the way to a controller; C{None} where it is reached directly.

    @param environ: what L{_bare} makes of C{original}.
    """
    name, file_name = (_set_name(each, original) for each in ("CONTROLLER_PROXY", "CONTROLLER_PROXY_FILE"))
    given, path = environ.get("CONTROLLER_PROXY"), environ.get("CONTROLLER_PROXY_FILE")
    if given and path:
        raise CommandError(Exit.USAGE, f"{name}: is set, and {file_name} too; remove one of them.")
    if path:
        given = read_secret(path, file_name)
    try:
        only = parse_only_proxy(given) if given else None
    except ValueError as error:
        raise CommandError(Exit.USAGE, f"{file_name if path else name}: {error}.") from None
    try:
        proxies = read_proxies(environ, only)
    except ValueError as error:
        raise CommandError(Exit.USAGE, f"{error}.") from None
    parts = urlsplit(address)
    return proxies.find(parts.scheme, parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80))


def config_file(environ: Mapping[str, str]) -> Path:
    """Return the path of the file with profiles (XDG Base Directory Specification)."""
    base = environ.get("XDG_CONFIG_HOME") or os.path.join(environ.get("HOME") or os.path.expanduser("~"), ".config")
    return Path(base) / "confd" / "config.toml"


def profiles(path: Path) -> Mapping[str, Mapping[str, str]]:
    """
    Return the profiles in a file by name; none if the file does not exist.

    @raise CommandError: the file is unreadable or malformed, or others may write to it.
    """
    found = _toml(path)
    tables = found.pop("profiles", {})
    if found or not (isinstance(tables, dict) and all(isinstance(each, dict) for each in tables.values())):
        what = f"has the unknown key {printable(next(iter(found)))}" if found else "has no [profiles.NAME] tables"
        raise CommandError(Exit.USAGE, f"{path}: {what}; write [profiles.NAME] with {', '.join(KEYS)}.")
    for name, table in tables.items():
        for key, value in table.items():
            if key == "password":
                raise CommandError(
                    Exit.USAGE, f"{path}: profile {printable(name)} has a password; write it to a file of mode 600, "
                    "and name that file with password_file.")  # fmt: skip
            if key not in KEYS:
                raise CommandError(
                    Exit.USAGE,
                    f"{path}: profile {printable(name)} has no {printable(key)}; it takes {', '.join(KEYS)}.",
                )
            if not isinstance(value, str):
                raise CommandError(
                    Exit.USAGE, f"{path}: {printable(key)} of profile {printable(name)} must be a string."
                )
    return tables


def _toml(path: Path) -> dict[str, object]:
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            raw = file.read(_MAX_CONFIG_BYTES + 1)
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise CommandError(Exit.USAGE, f"{path}: cannot be read: {error.strerror}.") from None
    if mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise CommandError(Exit.USAGE, f"{path}: is writable by other users; run chmod go-w {path}.")
    if len(raw) > _MAX_CONFIG_BYTES:
        raise CommandError(Exit.USAGE, f"{path}: is longer than {_MAX_CONFIG_BYTES} bytes; remove unused profiles.")
    # Most people have no profiles.
    import tomllib

    try:
        return tomllib.loads(raw.decode("utf-8-sig"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise CommandError(Exit.USAGE, f"{path}: is not TOML: {printable(error)}.") from None


def _profile(path: Path, name: str | None) -> _Layer:
    found = profiles(path)
    if name is not None and name not in found:
        known = f"use one of {', '.join(map(printable, found))}" if found else f"add [profiles.{printable(name)}] to it"
        raise CommandError(Exit.USAGE, f"{path}: has no profile {printable(name)}; {known}.")
    values = dict(found.get(name or _DEFAULT_PROFILE, {}))
    for key in ("password_file", "token_file", "ca_file"):
        if key in values:
            # Relative to the file that names it, not to the current directory.
            values[key] = str(path.parent / Path(values[key]).expanduser())
    return _Layer(f"profile {printable(name or _DEFAULT_PROFILE)}", values, profile=True)


def _pick(layers: list[_Layer]) -> tuple[dict[str, str], dict[str, str]]:
    """Return the first value of each key and its origin; a foreign URL hides the keys L{_WITH_URL} of a profile."""
    url_layer = next(layer for layer in layers if "url" in layer.values)
    values: dict[str, str] = {}
    origins: dict[str, str] = {}
    for layer in layers:
        is_foreign = layer.profile and "url" in layer.values and layer is not url_layer
        fresh = {
            key: text
            for key, text in layer.values.items()
            if key not in values
            and not (is_foreign and key in _WITH_URL)
            and not (key in _SECRETS and values.keys() & _SECRETS)
        }
        values |= fresh
        origins |= {key: layer.origin(key) for key in fresh}
    return values, origins


def _add_stored_token(path: Path, values: dict[str, str], origins: dict[str, str], remarks: list[str]) -> None:
    """Take the token that C{confdctl login} kept for the address, where no other credentials are set."""
    if values.keys() & _SECRETS:
        return
    tokens, remark = read_tokens(path)
    token = tokens.get(values["url"].rstrip("/"))
    if token is not None:
        values["token"], origins["token"] = token, "confdctl login"
        remarks += [remark] if remark else []


def _secret(name: str, values: Mapping[str, str], origins: dict[str, str], remarks: list[str]) -> str | None:
    """
    Return a secret, or the secret in the file that the key with C{_file} names; C{None} if neither is set.

    @param remarks: gets a warning about a file that other users may read.
    """
    path = values.get(f"{name}_file")
    if path is None:
        return values.get(name)
    if name in values:
        one, other = origins[name], origins[f"{name}_file"]
        raise CommandError(Exit.USAGE, f"{one}: is set, and {other} too; remove one of them.")
    origins[name] = origins[f"{name}_file"]
    secret = read_secret(path, origins[name])
    # A pipe may be gone by now.
    with suppress(OSError):
        mode = os.stat(path).st_mode
        if stat.S_ISREG(mode) and mode & stat.S_IROTH:
            remarks.append(f"{path}: is readable by every user of this machine; run chmod 600 {path}.")
    return secret


def read_secret(path: str, name: str) -> str:
    """
    Return the secret in a file or pipe.

    @param name: the variable or option that names the file.
    @raise CommandError: the file cannot be read, or holds no secret.
    """
    try:
        return secret_from(path, name, read_file_or_pipe)
    except ValueError as error:
        raise CommandError(Exit.USAGE, f"{error}.") from None
