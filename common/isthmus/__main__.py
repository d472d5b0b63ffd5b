"""`python -m isthmus`: the operator's command line."""

import sys

from isthmus.cli import main

sys.exit(main())
