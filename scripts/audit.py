#!/usr/bin/env python3
"""
Look for published advisories on the packages that are installed beside this Python.

The status is 1 if a package has an advisory. If the advisories cannot be fetched, the script prints that and does not
fail; pip-audit alone would pass in silence, or fail with --strict.
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

#: Time limit of pip-audit.
PATIENCE = 300

COMMAND = [sys.executable, "-m", "pip_audit", "--skip-editable", "--progress-spinner=off", "--format=json"]


def main() -> int:
    """Run pip-audit, and return the exit status."""
    try:
        asked = subprocess.run(COMMAND, capture_output=True, text=True, timeout=PATIENCE, check=False)
        found = json.loads(asked.stdout)["dependencies"]
    except (subprocess.TimeoutExpired, ValueError, KeyError, TypeError) as error:
        said = asked.stderr.strip().splitlines() if not isinstance(error, subprocess.TimeoutExpired) else []
        print(f"NOT AUDITED: no advisories; {said[-1] if said else 'no answer came in time'}")
        return 0
    return tell([each for each in found if "editable" not in each.get("skip_reason", "")])


def tell(dependencies: list[dict[str, Any]]) -> int:
    """Print the result for each package, and return the exit status."""
    skipped = [each["name"] for each in dependencies if "skip_reason" in each]
    bad = [(each, vulnerability) for each in dependencies for vulnerability in each.get("vulns", ())]
    for each, vulnerability in bad:
        fixed = ", ".join(vulnerability.get("fix_versions", ())) or "no version yet"
        print(f"{each['name']} {each['version']}: {vulnerability['id']}, fixed in {fixed}")
    print(f"{len(dependencies) - len(skipped)} of {len(dependencies)} dependencies audited, {len(bad)} advisories")
    if skipped:
        print(f"NOT AUDITED: could not fetch the advisories for {', '.join(skipped)}")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
