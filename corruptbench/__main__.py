"""``python -m corruptbench`` is ``corruptbench``."""

import sys

from corruptbench.cli import main

if __name__ == "__main__":
    sys.exit(main())
