"""``python -m whisper_max``."""

import sys

from whisper_max.cli import main

if __name__ == "__main__":
    sys.exit(main())
