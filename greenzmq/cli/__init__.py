"""The command line: ``python -m greenzmq run``, ``demo`` and ``info``.

- `run`, `demo` and `info` are the commands: each has ``add_parser`` and ``run``;
- `inputs` lists the files and computes what the answers must be, `exchange` is the service and its clients, written
  with green sockets, and `ticker` what runs beside them;
- `child` starts a process for each hub, in which `one_hub` runs;
- `names` knows the hubs by name, and how to get into each; `arguments` reads what options take;
- `console`, `table` and `progress` are all that prints.

Only `exchange` and `one_hub` touch a hub, and only in a child process: a command leaves no loop behind in its own.
"""
