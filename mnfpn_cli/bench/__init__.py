"""Time networks on devices, by runtimes: benchmarks, comparisons, and single runs.

`bench` runs a benchmark, `compare` times two networks, `compare_files` compares two results, and `measure_run` measures
one run for a worker. They share `workload` (a network and its inputs), `prepare` and `outputs` (a network made ready,
its outputs checked), `group` (runs timed in turn), `watch` (the machine meanwhile) and `profile` (layers). Results are
in `results` and `comparison`; `run_warnings` and `gates` judge them.
"""
