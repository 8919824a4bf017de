"""`./scripts/soak NAME ...` runs the module of this name."""

import importlib
import sys

RUNS = {
    "isolation": "tests.fidelity.isolation",
    "reload": "tests.soak.reload",
    "start": "tests.soak.start",
    "faults": "tests.soak.faults",
    "fuzz": "tests.soak.fuzz",
    "chaos": "tests.soak.chaos",
    "many": "tests.soak.many",
    "sessions": "tests.soak.sessions",
}


def main() -> int:
    if len(sys.argv) < 2 or sys.argv[1] not in RUNS:
        for name, module in RUNS.items():
            print(f"./scripts/soak {name:10} {(importlib.import_module(module).__doc__ or '').splitlines()[0]}")
        return 2
    return int(importlib.import_module(RUNS[sys.argv[1]]).main(sys.argv[2:]))


if __name__ == "__main__":
    sys.exit(main())
