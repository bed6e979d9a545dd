"""The default network by every runtime, and torchvision's MobileNetV2 with a pyramid of the same weights, in turn.

torchvision's pyramid resizes by nearest neighbour; ours is set to that, so that both compute the same numbers.

    python benchmarks/forward.py --size 600x900
    python benchmarks/forward.py --size 224x224 --device cuda --passes 200
"""

import argparse
from copy import deepcopy
from functools import partial

import torch
from torch import Tensor, nn

from mnfpn_cli.devices.choose import choose_devices, device_of
from mnfpn_cli.errors import MnfpnError
from mnfpn_cli.measure.engine import BenchRule, TimedRun, settling_of, take_samples, warm_up
from mnfpn_cli.measure.statistics import Latency
from mnfpn_cli.measure.verify import largest_difference
from mnfpn_cli.network.network import build_network
from mnfpn_cli.runtimes.runtime import Job, load_runtime
from mnfpn_cli.settings.input import parse_size
from mnfpn_cli.settings.measuring import Sampling, runtime_names
from mnfpn_cli.settings.network import NetworkSettings
from tests.conftest import import_torchvision
from tests.network.comparing import copy_state

SETTINGS = NetworkSettings.model_validate({"pyramid": {"upsample": "nearest"}})
TAPS = (3, 6, 13, 17)
"""torchvision's features that are the last of their stride, as ours are tapped."""

CHANNELS = [24, 32, 96, 320]


class Torchvision(nn.Module):
    """torchvision's backbone without its last convolution, and its pyramid."""

    def __init__(self) -> None:
        super().__init__()
        from torchvision.models import mobilenet_v2
        from torchvision.ops import FeaturePyramidNetwork

        self.body = mobilenet_v2().features[:-1]
        self.fpn = FeaturePyramidNetwork(CHANNELS, 256)

    def forward(self, x: Tensor) -> list[Tensor]:
        """Maps of strides 4 to 32."""
        taps = {}
        for index, layer in enumerate(self.body):
            x = layer(x)
            if index in TAPS:
                taps[str(index)] = x
        return list(self.fpn(taps).values())


@torch.inference_mode()
def main() -> None:
    """Time all of them there and back again, and print medians, ratios and differences."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", default="600x900")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--passes", type=int, default=20)
    parser.add_argument("--runtimes", default=",".join(runtime_names()))
    options = parser.parse_args()
    import_torchvision()
    (device,) = choose_devices([options.device])
    if device.type == "cuda":
        torch.cuda.set_device(device)  # events are put on its stream
    timer = device_of(device).timer()
    theirs, network = Torchvision().eval(), build_network(SETTINGS)
    copy_state(theirs, network)
    images = torch.rand(1, 3, *parse_size(options.size))
    expected = theirs(images)
    runs = {"torchvision": TimedRun(partial(theirs.to(device), images.to(device)), timer)}
    far = {"torchvision": 0.0}
    for name in options.runtimes.split(","):
        try:
            reason = load_runtime(name).unavailable_reason(device, "float32", False)
            if reason is not None:
                raise MnfpnError(reason)
            ready = load_runtime(name).prepare(Job(deepcopy(network), True, (images,), device, "float32"))
            far[name] = largest_difference(ready.outputs(ready.run()), expected)
        except MnfpnError as error:
            print(f"{name:16} {error}")
            continue
        runs[name] = TimedRun(ready.run, timer)
    for run in runs.values():
        warm_up(run.run_pass, run.timer)
    executed_by = ["eager" if name == "torchvision" else name for name in runs]
    rule = BenchRule(Sampling(passes=options.passes, min_time_s=0.0))
    take_samples(list(runs.values()), rule, settling=settling_of(device.type, executed_by))
    base = Latency(tuple(runs["torchvision"].samples)).median
    eager = Latency(tuple(runs["eager"].samples)).median if "eager" in runs else base
    print(f"{'':16} {'median':>10} {'min':>10} {'× eager':>8} {'× torchvision':>14} {'difference':>11}")
    for name, run in runs.items():
        latency = Latency(tuple(run.samples))
        ratios = f"{eager / latency.median:8.2f} {base / latency.median:14.2f}"
        print(f"{name:16} {latency.median * 1e3:7.1f} ms {latency.min * 1e3:7.1f} ms {ratios} {far[name]:11.1e}")


if __name__ == "__main__":
    main()
