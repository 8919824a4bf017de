"""What it costs to ask who calls, and to write down who called: a mesh with keys, three profiles and ten rules, one with tokens, and one with an audit log, beside one that does none of it.

All are the same program before the same upstreams, and are measured in the same rounds, with 16 requests under way: once as a wheel has it, once as the clone has it. `./scripts/bench --only access`
prints the ratios; they are in no table.
"""

import json
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bench.arena import Arena
from bench.contenders import CONTENDERS, Command, Upstreams, mesh_program, serving
from bench.ground import ROOT, Ground, say
from bench.measures.plan import Effort
from bench.rounds import Entry, ratio, rounds

CLIENTS = 16
ERAS = ("legacy", "modern")
PROGRAMS = ("meshproxy", "meshproxy-source")
KEY = "mesh_bench-0123456789"
RULES = [
    *({"who": {"groups": [f"group-{number}"]}, "allow": [f"other_{number}*"]} for number in range(4)),
    {"who": {"keys": ["nobody"]}, "deny": ["*"]},
    {"who": {"groups": ["dev"]}, "deny": ["other_*"], "kinds": ["prompts"]},
    {"who": {"groups": ["dev"]}, "allow": ["bench_*", "*://bench/*"]},
    {"who": {"subjects": ["ada*"]}, "allow": ["*"], "only": "read_only"},
    {"who": {"scopes": ["mcp"]}, "allow": ["*"]},
    {"who": "any", "deny": ["*"]},
]
PROFILES: dict[str, Any] = {name: {"upstreams": ["bench"]} for name in ("one", "two", "three")}


@dataclass(frozen=True)
class Asked:
    """How a mesh asks, and what is shown to it."""

    top: dict[str, Any]
    credential: str = ""


def measure(ground: Ground, wanted: list[str], effort: Effort) -> dict:
    """By program and era: samples by what is asked for, and how much CPU each costs to that of `nothing`."""
    found: dict = {}
    if "meshproxy" not in wanted:
        return found
    for program in PROGRAMS:
        if program not in ground.missing:
            found |= {f"{program} {era}": told for era, told in measured(ground, effort, program).items()}
    return found


def measured(ground: Ground, effort: Effort, program: str) -> dict:
    """One program, by era."""
    found: dict = {}
    with Arena(ground) as arena:
        upstreams = arena.http(["bench", "other"])
        running = {}
        for name, asked in scenes(arena.directory).items():
            contender = replace(CONTENDERS[program], name=name, command=asking(asked, program))
            running[name] = replace(arena.start(contender, upstreams), credential=asked.credential)
            arena.wait_for_tool(running[name])
        for era in ERAS:
            entries = []
            for name, one in running.items():
                arena.open(one, f"{name} {era}", era, CLIENTS, "small")
                entries.append(Entry(name, f"{name} {era}", one))
            samples = rounds(arena, entries, effort.rounds, effort.seconds)
            costs = {name: ratio(samples[name], samples["nothing"], "cpu") for name in running}
            say(
                f"  {program}, {era}: "
                + ", ".join(f"{name} {cost:.3f}" for name, cost in costs.items() if cost is not None)
            )
            found[era] = {"samples": samples, "costs": costs}
            for entry in entries:
                arena.load.job("close", entry.load)
    return found


def scenes(directory: Path) -> dict[str, Asked]:
    """The meshes, by what they ask for. Their keys and tokens are made for this run."""
    import hashlib

    import jwt
    from cryptography.hazmat.primitives.asymmetric import rsa

    signing = rsa.generate_private_key(65537, 2048)
    public = {**json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(signing.public_key())), "kid": "one"}
    keys = directory / "keys.json"
    keys.write_text(json.dumps({"keys": [public]}))
    issuer = "https://id.example.com"
    claims = {"iss": issuer, "sub": "bob", "aud": "mesh", "scope": "mcp", "exp": int(time.time()) + 86400}
    entry = {"issuer": issuer, "audience": "mesh", "scopes": ["mcp"], "jwks": str(keys)}
    hashed = f"sha256:{hashlib.sha256(KEY.encode()).hexdigest()}"
    auth = {"keys": [{"name": "ada", "groups": ["dev"], "hash": hashed}]}
    rest = {"access": RULES, "profiles": PROFILES}
    return {
        "nothing": Asked({}),
        "audit": Asked({"observe": {"audit": {"file": "audit.jsonl"}}}),
        "keys": Asked({"server": {"auth": auth}, **rest}, KEY),
        "tokens": Asked(
            {"server": {"auth": {"jwt": [entry]}}, **rest}, jwt.encode(claims, signing, "RS256", headers={"kid": "one"})
        ),
    }


def asking(asked: Asked, program: str) -> Command:
    """Serves a mesh that asks so."""
    start = mesh_program() if program == "meshproxy" else [str(ROOT / ".venv" / "bin" / "meshproxy")]

    def command(ground: Ground, directory: Path, upstreams: Upstreams, port: int) -> list[str]:
        path = directory / "mesh.yaml"
        path.write_text(json.dumps({**asked.top, "upstreams": upstreams}))
        return [*start, *serving(path, port)]

    return command
