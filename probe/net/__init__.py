"""The network: sockets with kernel receive timestamps, WebSocket connections, retry pauses."""
