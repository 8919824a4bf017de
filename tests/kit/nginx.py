"""nginx before several meshes, each of which gets a request in turn, as its documentation has it for event streams."""

import contextlib
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from tests.kit.replicas import free_port
from tests.kit.waiting import DEADLINE, wait_for

__all__ = ["nginx"]

CONFIG = """
{user} daemon off; worker_processes 1; pid {folder}/pid; error_log stderr error;
events {{ worker_connections 4096; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
    upstream meshes {{ {servers} keepalive 64; }}
    server {{
        listen 127.0.0.1:{port};
        location / {{
            proxy_pass http://meshes; proxy_http_version 1.1; proxy_set_header Connection "";
            proxy_set_header Host $http_host; proxy_buffering off; proxy_read_timeout 1h; client_max_body_size 8m;
        }}
    }}
}}
"""


@contextlib.contextmanager
def nginx(folder: Path, urls: Sequence[str]) -> Iterator[str]:
    """The URL of all of them."""
    program = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if program is None:
        pytest.skip("there is no nginx here")
    folder.mkdir()
    port = free_port("127.0.0.1")
    servers = " ".join(f"server {urlsplit(url).netloc};" for url in urls)
    user = "user root;" if os.geteuid() == 0 else ""
    (folder / "nginx.conf").write_text(CONFIG.format(user=user, folder=folder, servers=servers, port=port))
    log = folder / "log"
    with log.open("wb") as sink:
        line = [program, "-p", str(folder), "-c", str(folder / "nginx.conf")]
        process = subprocess.Popen(line, stdin=subprocess.DEVNULL, stdout=sink, stderr=sink)
    try:
        wait_for(lambda: _listens(port), process, log)
        yield f"http://127.0.0.1:{port}{urlsplit(urls[0]).path}"
    finally:
        process.terminate()
        process.wait(DEADLINE)


def _listens(port: int) -> bool:
    with socket.socket() as trial:
        return trial.connect_ex(("127.0.0.1", port)) == 0
