"""`GET /healthz` and `GET /readyz`: whether the mesh lives, and whether it should get traffic. Place: serving.

`/healthz` is 200 as long as the process answers at all. `/readyz` is 200 once every required upstream is up and 503 before,
whenever one is not, and once the process ends; its body has the state of each upstream (`meshproxy.supervision.states`), since when it is so, the reason if it is down or something of it
cannot be listed, and when it is tried again; those that were taken out and still drain; and no secret.
"""

from collections.abc import Callable, Mapping
from typing import Any

from meshproxy.mesh.mesh import Mesh
from meshproxy.observe.spelling import as_json
from meshproxy.serving.http import Health
from meshproxy.wire.codec import dumps

__all__ = ["health_of"]


def health_of(
    mesh: Mesh,
    is_ending: Callable[[], bool] = lambda: False,
    told: Callable[[], Mapping[str, Any]] = dict,
    **marks: Any,
) -> dict[str, Health]:
    """The two answers, by path. The second is 503 once the process ends, so that a balancer looks elsewhere; `marks` are what it says of the process besides, and so is what `told` gives."""

    def healthz() -> tuple[int, bytes]:
        return 200, b'{"status":"ok"}'

    def readyz() -> tuple[int, bytes]:
        ready, upstreams = mesh.is_ready, mesh.status()
        starting = any(upstream["state"] == "starting" for upstream in upstreams.values())
        status = "ready" if ready else "starting" if starting else "unready"
        if is_ending():
            ready, status = False, "ending"
        body: dict[str, Any] = {"status": status, **marks, **told(), "upstreams": upstreams}
        if draining := mesh.draining():
            body["draining"] = draining
        return 200 if ready else 503, as_json(dumps(body).decode()).encode()

    return {"/healthz": healthz, "/readyz": readyz}
