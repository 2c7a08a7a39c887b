"""From one event to many sockets: who is subscribed on this node, and what waits to be written to them."""
