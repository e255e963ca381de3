"""The network: sockets with kernel receive stamps, WebSocket connections, retry pauses."""
