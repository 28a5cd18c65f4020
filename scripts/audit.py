#!/usr/bin/env python3
"""
Hold what is installed beside this Python against the published advisories.

The status is 1 where something that is installed has one. Where the advisories cannot be had, for some or for all, that
is said loudly, and is no failure: pip-audit by itself passes in silence then, or fails with --strict.
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

#: Seconds after which nobody waits any longer for an answer.
PATIENCE = 300

COMMAND = [sys.executable, "-m", "pip_audit", "--skip-editable", "--progress-spinner=off", "--format=json"]


def main() -> int:
    """Ask, and tell; the status to end with."""
    try:
        asked = subprocess.run(COMMAND, capture_output=True, text=True, timeout=PATIENCE, check=False)
        found = json.loads(asked.stdout)["dependencies"]
    except (subprocess.TimeoutExpired, ValueError, KeyError, TypeError) as error:
        said = asked.stderr.strip().splitlines() if not isinstance(error, subprocess.TimeoutExpired) else []
        print(f"NOT AUDITED: no dependency was; {said[-1] if said else 'no answer came in time'}")
        return 0
    return tell([each for each in found if "editable" not in each.get("skip_reason", "")])


def tell(dependencies: list[dict[str, Any]]) -> int:
    """What came of each; the status to end with."""
    skipped = [each["name"] for each in dependencies if "skip_reason" in each]
    bad = [(each, vulnerability) for each in dependencies for vulnerability in each.get("vulns", ())]
    for each, vulnerability in bad:
        fixed = ", ".join(vulnerability.get("fix_versions", ())) or "no version yet"
        print(f"{each['name']} {each['version']}: {vulnerability['id']}, fixed in {fixed}")
    print(f"{len(dependencies) - len(skipped)} of {len(dependencies)} dependencies audited, {len(bad)} advisories")
    if skipped:
        print(f"NOT AUDITED: the advisories could not be had for {', '.join(skipped)}")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
