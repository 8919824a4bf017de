"""Servers that tests put behind the mesh, each in a process of its own: `python -m tests.servers.NAME --help`.

`basic` does everything that a server can; `everything` is written as real servers are, on the SDK's `MCPServer`, and `everything_fastmcp` on
FastMCP; `conformance` is what the official suite expects, for either era alone, too; the others misbehave.
`nursery` brings forth any of them over standard input and output, many and soon.
`tests.kit.running` starts them.
"""
