"""The command line: ``python -m greenzmq run``, ``proxy``, ``demo`` and ``info``.

- `run`, `proxy`, `demo` and `info` are the commands. Each has the functions ``add_parser`` and ``run``.
- `endpoints` reads the arguments of `proxy` that describe its sockets.
- `inputs` finds the files for the demo and computes the right answers. `exchange` is the demo's service with its
  clients, written with green sockets. `ticker` runs beside them and measures stalls.
- `child` starts a process for each hub; `one_hub` is the program that runs in it.
- `names` knows the hubs by name, and how to run a function on each. `arguments` reads the values of options.
- `console`, `table` and `progress` print; nothing else does.

Of the commands only `proxy` uses a hub in its own process: that is what it is for. `exchange` and `one_hub` use hubs in
child processes. So the other commands leave no loop behind in their own.
"""
