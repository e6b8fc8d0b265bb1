"""``python benchmarks``: what greenzmq costs, beside pyzmq's and eventlet's own ways to wait.

- `cells` is what runs in the process of each measurement, and the lists of contenders and workloads;
- `runner` starts these processes, `results` is what they gave, as one JSON document, with what `machine` knows;
- `figures` are medians, spreads and ratios, `floors` what the ratios have to be at least;
- `tables` and `plots` show them, and `command` is the command.

``benchmarks/README.md`` says what each workload means, and what came out last.
"""
