"""Servers that tests put behind the mesh, each in a process of its own: `python -m tests.servers.NAME --help`.

`basic` does everything that a server can; `conformance` is what the official suite expects; the others misbehave.
`tests.kit.running` starts them.
"""
