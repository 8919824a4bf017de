"""The wire of MCP, without I/O: JSON, JSON-RPC messages, event streams, headers, and what each protocol revision says."""
