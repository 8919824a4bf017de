"""Many MCP servers behind one endpoint, edited live."""
