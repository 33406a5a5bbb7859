"""`python -m deepmixture` is the command `deepmixture`."""

import sys

from deepmixture.cli import main

sys.exit(main())
