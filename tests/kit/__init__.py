"""What tests of several rooms share. What only one room needs is in that room's `conftest.py`.

Waiting and what is left over:

- `waiting`: `DEADLINE`, `within` for what can be awaited, `eventually` for what only polling tells, `wait_for` in tests that are not
  asynchronous, and `Changes` for a thing that says when it changes.
- `processes`: the children of a process, its file descriptors, whether a process lives, and `nothing_left`.
- `heard`: messages as they come, and a way to wait for one.
- `journal`: what is logged while a test runs; the fixture `journal` brings it.
- `places`: where things are. `loops`: the two event loops. `groups`: which tests one worker runs, one after the other.

Servers to put behind the mesh:

- `running`: those of `tests.servers`, each a process; the fixtures `shared_server` and `own_server` start them.
- `light`: the one of them that starts in a twentieth of the time, as an upstream of a config.
- `scripted`: a program on pipes that misbehaves as its arguments say; `links.scripted` is its endpoint.
- `raw_server`: an HTTP server whose every byte the test decides. `web`: the same for MCP, with a handshake that works.
- `wires`: a link without any server, whose every answer the test decides.
- `authority`: an authorization server and what it protects, with a knob for each misbehaviour; `signer`: its keys; `logged_in`: meshes in front of it.
- `sdk_protected`: a server of the SDK with an authorization server of its own.
- `people`: an authority that knows whose each token is, and notes what two people have shared.
- `keyrings`: the platform's keyring, in a file of the test's.
- `redis_server`: a Redis that a test kills and starts again.
- `node`: npm packages, and the conformance suite.

Clients to put in front of it:

- `clients`: both eras without a wire; they call a handler as a transport would.
- `sdk`: the SDK's client of a URL, a command line or a server in this process.
- `raw_client`: a socket, requests as bytes, and the HTTP server alone. `messages`: JSON-RPC as it is POSTed.
- `program`: `meshproxy serve` in a process of its own. `replicas`: several of them that are one mesh. `balancer` and `nginx`: what stands before several, and knows nothing of sessions.
- `callers`: clients that call all the time, none of whose calls may fail.
- `written`: what is in a client's own file, and the SDK's client that goes by it.

Between the two:

- `echo`: a handler with something for each rule of the transports, and an HTTP server around it.
- `handlers`: handlers that do nothing.
- `links`: what a link is handed: listeners and calls that keep what they hear.
- `sockets`: sockets that listen.
"""
