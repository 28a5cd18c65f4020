"""How Sphinx builds these pages: C{make docs}."""

import sys
from pathlib import Path

_ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(_ROOT), str(_ROOT / "docs/_ext")]

import confd  # noqa: E402 - found by the line above

project = "confd"
version = release = confd.__version__
project_copyright = "the confd authors, Apache 2.0"
extensions = ["confd_reference"]
exclude_patterns = ["_build", "examples"]
default_role = "code"
nitpicky = True
highlight_language = "none"
html_theme = "furo"
html_title = f"confd {release}"
html_copy_source = False
html_show_sphinx = False
html_static_path = []
html_theme_options = {"navigation_with_keys": True}
