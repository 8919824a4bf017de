"""Contender: FastMCP's multi-server proxy as its documentation has it: `create_proxy` of an `mcpServers` config.

fastmcp_documented.py CONFIG PORT
"""

import json
import sys
from pathlib import Path

from fastmcp.server import create_proxy

if __name__ == "__main__":
    config = json.loads(Path(sys.argv[1]).read_text())
    create_proxy(config, name="documented").run(
        transport="http", host="127.0.0.1", port=int(sys.argv[2]), show_banner=False
    )
