"""C{python -m confd.cli} is C{confdctl}."""

import sys

from confd.cli.main import main

sys.exit(main())
