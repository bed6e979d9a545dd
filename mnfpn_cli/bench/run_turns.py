"""The turns of one run in its own process: build the network, prepare it, time passes, check the outputs at the end.

Nothing else happens in the process before the passes, as whatever does moves the memory that they use: the outputs of
the first pass wait in a file until the passes are over, and only then does eager float32 run to compare them with.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from tempfile import TemporaryFile
from typing import IO

import torch

from mnfpn_cli.bench.bench import conditions, run_images
from mnfpn_cli.bench.group import Group, case_timer, eager_outputs, judge_of
from mnfpn_cli.bench.messages import (
    Describe,
    Described,
    EndedRun,
    EndRun,
    LoadedRun,
    PrepareRun,
    RunAnswer,
    RunFailure,
    TimedPass,
    TimePass,
    WarmRun,
    read_command,
)
from mnfpn_cli.bench.outputs import NamedTensors, OutputComparison, check_outputs, weights_not_finite
from mnfpn_cli.bench.prepare import Checked, check_run, explained, make_ready
from mnfpn_cli.bench.profile import profile_run
from mnfpn_cli.bench.request import requested_case, requested_workload
from mnfpn_cli.bench.results import RunKey
from mnfpn_cli.bench.workload import workload_figures
from mnfpn_cli.devices.allocator import use_allocator
from mnfpn_cli.devices.choose import choose_devices, device_of
from mnfpn_cli.devices.timers import Timer
from mnfpn_cli.documents.bench import ProfileRecord
from mnfpn_cli.documents.worker import RunRequest
from mnfpn_cli.errors import MnfpnError, Problem, UnavailableError
from mnfpn_cli.measure.environment import read_environment
from mnfpn_cli.measure.memory import check_needed
from mnfpn_cli.runtimes.runtime import Job, Prepared, unavailable_reason
from mnfpn_cli.settings.measuring import LITERT
from mnfpn_cli.text import ReportProgress


def take_turns(request: RunRequest, commands: Iterator[bytes], progress: ReportProgress) -> Iterator[RunAnswer]:
    """Build the network of a request, and answer one command after the other until the run ends.

    Args:
        request: the run.
        commands: lines, as `mnfpn_cli.bench.messages` has them.
        progress: is called with what is being done and the share of it that is done.

    Raises:
        UnavailableError: where the run is not possible here.
        MnfpnError: where it fails.
    """
    use_allocator(request.allocator)
    (device,) = choose_devices([request.device])
    run = _Run(request, device, _group(request, device, progress), progress)
    yield LoadedRun()
    with conditions(device, run.group.case):
        for line in commands:
            match read_command(line):
                case Describe():
                    yield run.describe()
                    return
                case PrepareRun():
                    yield run.prepare()
                case TimePass():
                    yield run.time_pass()
                case EndRun() as end:
                    yield run.end(end)
                    return


def _group(request: RunRequest, device: torch.device, progress: ReportProgress) -> Group:
    workload, case = requested_workload(request), requested_case(request)
    (runtime,), (dtype,) = case.runtimes, case.dtypes
    reason = unavailable_reason(runtime, workload.origin, device, dtype, case.train)
    if reason is not None:
        raise UnavailableError(Problem("", reason))
    network, _ = workload.build()
    input = workload.input(request.input.batch)
    return Group(workload, network, input, device, case, run_images(workload.origin, input, case, progress))


@dataclass
class _Run:
    """One run, and how far it is."""

    request: RunRequest
    device: torch.device
    group: Group
    progress: ReportProgress
    outputs: IO[bytes] = field(default_factory=TemporaryFile)
    job: Job | None = None
    prepared: Prepared | None = None
    timer: Timer | None = None
    bad_weights: list[str] = field(default_factory=list)

    @property
    def key(self) -> RunKey:
        """The key of the run."""
        return RunKey(self.request.runtime, str(self.device), self.group.input, self.request.dtype)

    def describe(self) -> Described:
        """Say what a pass needs, and where it would run.

        Raises:
            UsageError: where the input does not fit the memory of the device.
        """
        workload, input, dtype = self.group.workload, self.group.input, self.request.dtype
        with explained(self.group.doing(self.key)):
            check_needed(workload.needed(input, dtype), input, dtype, self.device)
            figures = workload_figures(workload, self.group.network, input, dtype)
            return Described(str(self.device), figures, read_environment("", self.request.allocator))

    def prepare(self) -> WarmRun:
        """Prepare the network itself, not a copy of it, and warm it up."""
        group, device = self.group, device_of(self.device)
        with explained(group.doing(self.key)):
            self.job = group.job(
                self.request.dtype, group.case.tflite if self.request.runtime == LITERT else None, copy=False
            )
            self.bad_weights = weights_not_finite(self.job.network)  # before a runtime folds them into others
            warmup = group.case.sampling.warmup
            self.prepared, ready = make_ready(self.request.runtime, self.job, device.timer(), warmup, self._save)
            self.timer = case_timer(self.device, group.case)
        device.reset_peak()
        return WarmRun(ready)

    def _save(self, outputs: NamedTensors) -> None:
        torch.save([(name, tensor.cpu()) for name, tensor in outputs], self.outputs)

    def time_pass(self) -> TimedPass:
        """Time one pass."""
        assert self.prepared is not None
        assert self.timer is not None
        try:  # a context manager here would be part of the time between passes
            return TimedPass(*self.timer(self.prepared.run))
        except (Exception, SystemExit):
            with explained(self.group.doing(self.key)):
                raise

    def end(self, end: EndRun) -> EndedRun:
        """Check the outputs, and time the layers where that is asked for."""
        assert self.prepared is not None
        device = device_of(self.device)
        memory = None if self.prepared.outside_torch else device.peak()
        by_driver = device.driver_memory()
        workload = requested_workload(self.request)  # the runtime has changed the network
        network, _ = workload.build()
        group = Group(workload, network, self.group.input, self.device, self.group.case, self.group.images)
        checked = self._check(group)
        profile, why = self._profile(group, end)
        return EndedRun(checked, memory, by_driver, profile, why)

    def _check(self, group: Group) -> Checked:
        assert self.prepared is not None
        assert self.job is not None
        with explained(group.doing(self.key)):
            if group.case.train:
                return Checked()
            self.outputs.seek(0)
            outputs: NamedTensors = torch.load(self.outputs)
            reference = eager_outputs(group, self.progress)
            expected = reference.outputs if reference else None
            comparison: OutputComparison = check_outputs(outputs, expected, self.request.dtype, self.bad_weights)
            return check_run(self.prepared, self.job, comparison, judge_of(group, self.key, reference))

    def _profile(self, group: Group, end: EndRun) -> tuple[ProfileRecord | None, RunFailure | None]:
        if not (group.case.by_layer or group.case.roofline):
            return None, None
        try:
            return profile_run(group, self.key, end.pass_s, end.launch_bound, self.progress), None
        except MnfpnError as error:
            return None, RunFailure(error.message, "unavailable" if isinstance(error, UnavailableError) else "failed")
