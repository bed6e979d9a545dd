"""Time networks on devices, by runtimes: benchmarks, comparisons, and single runs.

`bench` runs a benchmark, `compare` times two networks, `compare_files` compares two results, and `measure_run` measures
one run for a worker. They share `workload` (a network and its inputs), `prepare`, `outputs` and `judge` (a network made
ready, its outputs checked and judged on images), `group` (runs timed in turn), `watch` (the machine meanwhile),
`profile` (layers, summed in `parts`, and what they wait for: `waits`) and `noise` (layers in int8). Results are in
`results` and `comparison`; `bench_document` makes the document of the former; `run_warnings`, `verdict` and `gates`
judge them. `inventory` lists what can run here.
"""
