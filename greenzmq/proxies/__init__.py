"""proxy, proxy_steerable and device: messages passed on between sockets, by a greenlet or by libzmq in a thread."""
