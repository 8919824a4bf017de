"""HTTP/1.1 on both sides, knowing nothing of MCP: server and client, event streams, heads that came before."""
