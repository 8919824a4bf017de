"""Several replicas of one mesh, each the program in processes of its own at an address of its own on this machine: 127.0.0.1, 127.0.0.2 and so on."""

import contextlib
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from tests.kit.program import Serving, serve

__all__ = ["KEY", "free_port", "replica", "replicas", "written"]

KEY = "a-key-of-tests-that-is-long-enough-to-be-taken"


def free_port(*hosts: str) -> int:
    """A port that is free at each of these addresses."""
    while True:
        with contextlib.ExitStack() as stack, contextlib.suppress(OSError):
            first = stack.enter_context(socket.socket())
            first.bind((hosts[0], 0))
            port: int = first.getsockname()[1]
            for host in hosts[1:]:
                stack.enter_context(socket.socket()).bind((host, port))
            return port


def written(folder: Path, number: int, port: int, *, count: int = 3, workers: int = 1, **sections: Any) -> Path:
    """The config of one of `count` replicas: its neighbours are known to it by a list."""
    hosts = [f"127.0.0.{place + 1}" for place in range(count)]
    cluster = {"listen": f"{hosts[number]}:{port}", "peers": [f"{host}:{port}" for host in hosts], "key": KEY}
    server = {"host": hosts[number], "workers": workers, **sections.pop("server", {})}
    document = {"name": "interop", "server": server, "cluster": cluster, **sections}
    file = folder / f"{number}" / "mesh.yaml"
    file.parent.mkdir(exist_ok=True)
    file.write_text(yaml.safe_dump(document))
    return file


@contextlib.contextmanager
def replica(file: Path, *options: str) -> Iterator[Serving]:
    """One, that knows who is there."""
    with serve(file, file.parent / "log", *options) as mesh:
        mesh.await_event("cluster.joined")
        yield mesh


@contextlib.contextmanager
def replicas(folder: Path, *, count: int = 3, workers: int = 1, **sections: Any) -> Iterator[list[Serving]]:
    """All of them, each of which knows all others."""
    port = free_port(*(f"127.0.0.{place + 1}" for place in range(count)))
    files = [written(folder, number, port, count=count, workers=workers, **sections) for number in range(count)]
    with contextlib.ExitStack() as stack:
        meshes = [stack.enter_context(replica(file)) for file in files]
        for mesh in meshes:
            mesh.await_event("cluster.replica_there", (count - 1) * workers)
        try:
            yield meshes
        finally:
            # All at once: each lets its clients go over to the others.
            for mesh in meshes:
                mesh.process.terminate()
