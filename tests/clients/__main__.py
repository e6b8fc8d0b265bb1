"""``python tests/clients [PROGRAM ...]``: programs of others on greenzmq, in real processes on the loopback.

Each module ``with_PROGRAM.py`` has `CASES`: by the hub and the way it gets there, a function that runs the program,
checks every answer, and returns what it has checked. ``--json FILE`` writes the results, of which
``python tests/clients/table.py`` makes the table in the documentation.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.metadata
import json
import sys
import time
from pathlib import Path

PROGRAMS = {path.stem.removeprefix("with_"): path.stem for path in sorted(Path(__file__).parent.glob("with_*.py"))}


def main() -> int:
    """Run the programs that are named, or all of them. Returns 1 if a case has failed."""
    parser = argparse.ArgumentParser(prog="python tests/clients", description=__doc__)
    parser.add_argument("programs", nargs="*", metavar="PROGRAM", help=f"of {', '.join(PROGRAMS)}")
    parser.add_argument("--json", type=Path, help="write the results to this file")
    options = parser.parse_args()
    if unknown := [name for name in options.programs if name not in PROGRAMS]:
        parser.error(f"{', '.join(unknown)}: not one of {', '.join(PROGRAMS)}")
    results = []
    for name in options.programs or PROGRAMS:
        module = importlib.import_module(PROGRAMS[name])
        for case, run in module.CASES.items():
            began = time.monotonic()
            try:
                checked, passed = run(), True
            except Exception as error:  # told, and the other programs go on
                checked, passed = f"{type(error).__name__}: {error}", False
            seconds = time.monotonic() - began
            version = importlib.metadata.version(getattr(module, "DISTRIBUTION", name))
            results.append({"program": name, "version": version, "case": case, "passed": passed, "checked": checked})
            print(f"{name} {version}, {case}: {'ok' if passed else 'FAILED'} ({seconds:.1f} s): {checked}", flush=True)
    if options.json:
        options.json.write_text(json.dumps(results, indent=1) + "\n")
    failed = sum(not result["passed"] for result in results)
    print(f"{len(results) - failed} passed, {failed} failed")
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())
