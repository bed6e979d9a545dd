"""Time networks on devices, by runtimes: benchmarks, comparisons, and single runs.

* What is timed: `workload` (a network and its inputs), `inventory` (what can run here).
* A run: `prepare` (make a network ready), `outputs` and `judge` (compare what it returns with eager float32's), `watch`
  (the machine meanwhile), `run_warnings` (samples to trust less).
* A benchmark: `bench`, of groups of runs in turn (`group`), with `postprocess`, `noise`, and profiles (`profile`,
  `parts`, `waits`); its `results`, their `verdict` in words, and the `bench_document`.
* Runs in processes of their own: `isolated` times a group of them. `processes` is the side that gives turns,
  `run_process` and `run_turns` are the process of a run; they share `request` and `messages`. A worker of a sweep does
  `measure_run`.
* A comparison: `run_comparison` chooses between `compare` in this process and `compare_processes` in several, with what
  differs besides the network (`sides`, `worktrees`); `compare_files` reads recorded results. `comparison` has what they
  share, and the gates.
"""
