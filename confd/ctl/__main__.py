"""C{python -m confd.ctl} is C{confdctl}."""

import sys

from confd.ctl.main import main

sys.exit(main())
