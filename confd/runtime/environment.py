"""The environment variables of a role: their optional prefix, and names that look like misspelled settings."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from difflib import SequenceMatcher, get_close_matches

from confd.runtime.setting import alternatives, names_of

#: Similarity (0 to 1) from which a word counts as a misspelling of another.
_MIN_SIMILARITY = 0.75

#: Characters that a variable must have before confd suspects a misspelling: short names say too little.
_MIN_SUSPECT_LENGTH = 7

#: An optional prefix of every setting, for environments in which another program uses the bare name.
PREFIX = "CONFD_"

#: Words that other programs use in place of words of confd's settings.
_SYNONYMS = {"USER": "USERNAME", "PASS": "PASSWORD"}

#: Variables with the prefix that belong to confdctl.
CONFDCTL_NAMES = {"CONFD_URL", "CONFD_CA_FILE", "CONFD_NAMESPACE", "CONFD_PROFILE"}

#: Names of variables that container platforms set for each service, and the value of C{*_PORT} among them.
PLATFORM_NAME = re.compile(r".*_(?:SERVICE_HOST|SERVICE_PORT(?:_\w+)?|PORT|PORT_[0-9]+_\w+|TCP|ADDR|PROTO)")
_SERVICE_LINK = re.compile(r"(?:tcp|udp|sctp)://[^/]*")


def own_environment(role: type, environ: Mapping[str, str]) -> dict[str, str]:
    """
    Return the environment as a role reads it, with the L{PREFIX} removed from its settings.

    A variable with the prefix replaces the variable without it. The result omits empty variables, which Compose and
    systemd pass for unset ones, and service links of Kubernetes and Docker such as C{WORKER_PORT=tcp://10.0.0.1:80}.
    An empty variable of C{role.closable} stays, unless a file has the secret.
    """
    found = _set_on_purpose(environ) | _closed(getattr(role, "closable", ()), environ)
    for names in [*alternatives(role), *({name} for name in getattr(role, "retired", ()))]:
        prefixed = {name: found.pop(PREFIX + name) for name in names if PREFIX + name in found}
        if prefixed:
            for name in names:
                found.pop(name, None)
            found |= prefixed
    return found


def _closed(names: Iterable[str], environ: Mapping[str, str]) -> dict[str, str]:
    """Return the empty variables among the passwords that an empty text switches off."""
    spellings = [(PREFIX + name, name) for name in names]
    return {
        name: ""
        for pair in spellings
        for name in pair
        if environ.get(name) == "" and not any(environ.get(each) or environ.get(f"{each}_FILE") for each in pair)
    }


def _set_on_purpose(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that are neither empty nor service links."""
    return {
        name: text
        for name, text in environ.items()
        if text and not (name.endswith("_PORT") and _SERVICE_LINK.fullmatch(text))
    }


def spelling(role: type, given: Mapping[str, str], environ: Mapping[str, str]) -> Callable[[str], str]:
    """
    Return a function that rewrites a sentence with the names of variables that the operator used.

    @param given: texts of the options, by environment name; these names never have the prefix.
    @return: adds L{PREFIX} to each setting that the environment has with the prefix; quoted text stays as it is.
    """
    there = _set_on_purpose(environ)
    prefixed = {
        name
        for names in [*alternatives(role), *({name} for name in getattr(role, "retired", ()))]
        for name in names
        if PREFIX + name in there and not names & given.keys()
    }
    if not prefixed:
        return str
    pattern = re.compile(rf"(?<![\w'\"/])(?:{'|'.join(map(re.escape, sorted(prefixed)))})(?![\w'\"/])")
    return lambda sentence: pattern.sub(lambda match: PREFIX + match[0], sentence)


def find_mistaken_names(role: type, environ: Mapping[str, str], siblings: Callable[[], Sequence[type]]) -> list[str]:
    """
    Return a sentence for each variable that looks like a setting and has no effect.

    @param siblings: see L{confd.runtime.options.read}.
    """
    retired: Mapping[str, str] = getattr(role, "retired", {})
    own = names_of(role)
    known = {*own, *retired}
    mistakes = [f"{name}: {retired[name]}." for name in retired if name in environ]
    for name in sorted(environ.keys() - known - CONFDCTL_NAMES):
        prefix, bare = (PREFIX, name[len(PREFIX) :]) if name.startswith(PREFIX) else ("", name)
        if len(bare) >= _MIN_SUSPECT_LENGTH and bare not in known and not PLATFORM_NAME.fullmatch(name):
            for meant in _meant(bare, own, getattr(role, "own_prefix", "")):
                if {name, bare} & {other for sibling in siblings() for other in names_of(sibling)}:
                    continue
                mistakes.append(f"{name}: no such setting; did you mean {prefix}{meant}?")
    return mistakes


def _meant(name: str, own: Sequence[str], own_prefix: str) -> Sequence[str]:
    """
    Return the setting that a variable probably means, or an empty sequence.

    @param own_prefix: a prefix that operators may put before settings of this role, as in C{CONTROLLER_DB_PATH}.
    """
    for spelling in (name, name.removeprefix(own_prefix)):
        words = "_".join(_SYNONYMS.get(word, word) for word in spelling.split("_"))
        if words in own:
            return [words]
        if len(spelling) >= _MIN_SUSPECT_LENGTH and (alike := [ours for ours in own if _alike(spelling, ours)]):
            return get_close_matches(spelling, alike, 1, 0)
    return []


def _alike(name: str, ours: str) -> bool:
    if name.replace("_", "") == ours.replace("_", ""):
        return True
    words, our_words = name.split("_"), ours.split("_")
    return len(words) == len(our_words) and all(
        word[:1] == our[:1] and (our.startswith(word) or SequenceMatcher(None, word, our).ratio() >= _MIN_SIMILARITY)
        for word, our in zip(words, our_words, strict=True)
    )
