"""``python benchmarks`` measures the greenzmq that is installed: the harness takes nothing else from this folder."""

import sys

from harness.command import main

sys.exit(main())
