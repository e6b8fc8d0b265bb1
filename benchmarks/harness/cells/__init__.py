"""What runs in the process of one cell: one workload on one contender.

Nothing here imports greenzmq, for a peer's process is to hold nothing but the peer. The process puts this directory's
parent on its path and imports this package as ``cells``; see `harness.runner`.

- `contenders` lists who is measured, and `runtimes` is how each of them runs and ends tasks;
- `workloads` lists what is measured; `messages`, `round_trips`, `polling`, `waiting`, `scale` and `stalls` have the
  code of it, once for blocking-style calls and once for coroutines;
- `job` is what they have in common, `measure` runs it, and `one` is the process.
"""
