"""`python -m trio_h2` is the command `trio-h2`."""

import sys

from .cli import main

sys.exit(main())
