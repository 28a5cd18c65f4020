#!/usr/bin/env python3
"""Write the API documents, as each service serves them at /openapi.json, without starting one: openapi.py FOLDER."""

from __future__ import annotations

import json
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

if __name__ == "__main__":
    # The pages are made of the same documents.
    sys.path[:0] = [str(ROOT), str(ROOT / "docs" / "_ext")]
    from confd_reference import api_document

    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for role in ("controller", "worker"):
        file = folder / f"{role}.json"
        file.write_text(json.dumps(api_document(role), indent=2, ensure_ascii=False) + "\n", "utf-8")
        print(file)
