"""The commit of a folder, as a comment for the history."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping
from pathlib import Path

#: Variables in which CI systems name the commit: GitHub Actions and GitLab.
_VARIABLES = ("GITHUB_SHA", "CI_COMMIT_SHA")
_COMMIT = re.compile(r"[0-9a-f]{12,64}")
_DIGITS = 12
_TIMEOUT_SECONDS = 5.0


def commit_of(folder: Path, environ: Mapping[str, str]) -> str:
    """Return the first 12 digits of the commit that CI names, or that is checked out in a folder; empty without git."""
    for found in (*(environ.get(name, "") for name in _VARIABLES), _checked_out(folder)):
        if _COMMIT.fullmatch(found):
            return found[:_DIGITS]
    return ""


def _checked_out(folder: Path) -> str:
    command = ["git", "-C", str(folder), "rev-parse", "HEAD"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired, UnicodeDecodeError):
        return ""
    return done.stdout.strip()
