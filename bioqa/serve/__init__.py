"""One pipeline served over HTTP, MCP and a web page."""
