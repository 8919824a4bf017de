"""Which tests one worker runs, one after the other: they share something that takes long to start, or look at the whole machine.

By their place, and not by a mark: those of pytest-xdist have no effect with pytest 9.2 (pytest-dev/pytest-xdist, issue 1386).
"""

from typing import Any, Final

from xdist.scheduler.loadscope import LoadScopeScheduling

GROUPS: Final = {
    "tests/chaos/": "chaos",
    # What one of them leaves on purpose, the others would find.
    "tests/cli/test_doctor.py": "doctor",
    "tests/fidelity/test_differential.py": "differential",
    "tests/fidelity/test_isolation.py": "isolation",
    "tests/fidelity/test_matrix.py": "fidelity",
    "tests/interop/test_browser_client.py": "browser",
    "tests/interop/test_playwright.py": "browser",
    "tests/page/": "browser",
}
"""The name of a group by where its tests are: a file or a folder."""


class Grouped(LoadScopeScheduling):
    """Hands out every test by itself, but for these groups."""

    def _split_scope(self, nodeid: Any) -> str:
        name = str(nodeid)
        return next((group for place, group in GROUPS.items() if name.startswith(place)), name)
