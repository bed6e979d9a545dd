"""Measure the runs of a sweep, each in a process of its own, here or on a Ray cluster; recommend and predict from them.

* From a space to a result: `parameters` and `case` (what was asked for), `run` (the steps), `start` (the runs of a
  store), `sweep` (the loop), `state` (its progress and result).
* What is measured next: `order`, `drift` (the baseline's), `reuse` (earlier results), `teaching` (what a model learns).
* Who measures it: `pool` and `ray` (workers), `process` and `worker` (the two sides of a run's process).
* Scores: `training` runs the user's `command` (`waiting` for its end); `objective` is what runs are compared by.
* What is known then: `frontier`, `predictions`, `recommend`, and `answer`, which measures until a choice is sure.
* Documents: `run_records`, `report`, `predict_document`, with the `command_lines` that come next.
"""
