"""Where in a state directory it stands what an upstream offered. Place: state, pure; `meshproxy.mesh.memory` writes and reads it."""

import hashlib
import re
from typing import Final

__all__ = ["FOLDER", "entry_name"]

FOLDER: Final = "catalogs"


def entry_name(upstream: str) -> str:
    """The name of an upstream's entry: readable as far as any file system can take it, and distinct in any case."""
    digest = hashlib.blake2b(upstream.encode("utf-8", "surrogatepass"), digest_size=6).hexdigest()
    return f"{FOLDER}/{re.sub('[^A-Za-z0-9_-]+', '-', upstream)[:40]}-{digest}.json"
