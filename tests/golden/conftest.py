"""Makes the runner's modules importable, which are scripts beside this file."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
