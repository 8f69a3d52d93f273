"""``python -m deepsphere``: the command ``deepsphere``."""

import sys

from deepsphere.cli import main

if __name__ == "__main__":
    sys.exit(main())
