"""Compare two networks with several processes a side, each pair of them timed in turn, A B B A.

The processes of a side may have an interpreter, environment variables and a commit of their own (`sides`). A new process
has other addresses and hash seeds, so the verdict holds beyond the luck of one.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field, replace
from math import ceil, sqrt

import torch

from mnfpn_cli.bench.bench import conditions
from mnfpn_cli.bench.compare import run_warnings
from mnfpn_cli.bench.comparison import CompareCase, ComparedSide, Comparison, Pair, failure_of, run_name, side_warnings
from mnfpn_cli.bench.messages import Described
from mnfpn_cli.bench.prepare import Checked, Ready
from mnfpn_cli.bench.processes import RunProcess
from mnfpn_cli.bench.request import run_request
from mnfpn_cli.bench.results import RunKey
from mnfpn_cli.bench.sides import PlacedSide
from mnfpn_cli.bench.watch import watch
from mnfpn_cli.devices.choose import choose_devices
from mnfpn_cli.documents.records import Ended, EnvironmentRecord, WarningRecord
from mnfpn_cli.documents.worker import RunRequest
from mnfpn_cli.errors import MnfpnError, Problem, UsageError, within
from mnfpn_cli.external.origin import External, Inputs, Workload, specs_of
from mnfpn_cli.measure.engine import REST_S, RatioRule, TimedRun, rest_between, rewarm, take_samples
from mnfpn_cli.measure.statistics import Latency, process_ratio
from mnfpn_cli.settings.input import DType, NetworkInput
from mnfpn_cli.settings.measuring import Sampling
from mnfpn_cli.text import ReportProgress
