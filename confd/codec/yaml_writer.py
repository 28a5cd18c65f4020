"""YAML that readers of YAML 1.1 and of YAML 1.2 read alike."""

from __future__ import annotations

import re

import yaml


def write_yaml(value: object) -> str:
    """Return YAML in block style with sorted keys, which YAML 1.1 and 1.2 read alike."""
    text: str = yaml.dump(
        value, Dumper=_Dumper, default_flow_style=False, allow_unicode=True, sort_keys=True, width=4096
    )
    return text


class _Dumper(yaml.SafeDumper):
    """Write what YAML 1.1 and YAML 1.2 read alike."""

    def ignore_aliases(self, data: object) -> bool:
        return True


#: Plain texts that readers of YAML 1.2 take for numbers, and PyYAML's of 1.1 do not.
_NUMBER = re.compile(r"[-+]?(?:\.?[0-9]|0[ox]).*|[-+]?\.(?:inf|nan)|[yYnN]", re.IGNORECASE | re.DOTALL)


def _represent_str(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = '"' if not text.isprintable() else "'" if _NUMBER.fullmatch(text) else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


def _represent_float(dumper: yaml.SafeDumper, number: float) -> yaml.ScalarNode:
    text = repr(number)
    if "e" in text and "." not in text:
        # YAML 1.1 reads 1e30 as a text.
        text = text.replace("e", ".0e")
    return dumper.represent_scalar("tag:yaml.org,2002:float", text)


_Dumper.add_representer(str, _represent_str)
_Dumper.add_representer(float, _represent_float)
