"""One libzmq socket: its green object, who waits on it, and its context."""
