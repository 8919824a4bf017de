"""`meshproxy sample`: the servers that the examples use, from the program that everybody has."""

from meshproxy.cli.entry import Failure
from meshproxy.samples import NAMES
from meshproxy.samples import run as run_sample


def run(name: str, transport: str, port: int) -> int:
    """Serve a sample until its client leaves; see `meshproxy.samples.run`."""
    if name not in NAMES:
        raise Failure(f"there is no sample {name!r}; choose one of {', '.join(NAMES)}", status=2)
    try:
        run_sample(name, transport, port)
    except OSError as error:
        raise Failure(f"the sample cannot listen on port {port}: {error.strerror}") from None
    return 0
