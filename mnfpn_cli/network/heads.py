"""Heads: classifiers, and the dense head of detectors."""

from collections import OrderedDict
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from mnfpn_cli.network.layers import NormAct, conv2d, conv_layer, linear
from mnfpn_cli.plan.heads import BranchPlan, ClassifierPlan, DensePlan, HeadPlan, LevelClassifiersPlan, LevelHeadPlan
from mnfpn_cli.plan.layers import ConvPlan, LinearPlan


class Classifier(nn.Sequential):
    """A last convolution or none, average pooling, dropout, a dense layer: (n, c, h, w) to logits (n, classes)."""

    def __init__(self, plan: ClassifierPlan):
        layers: OrderedDict[str, nn.Module] = OrderedDict()
        if plan.last:
            layers["last"] = conv_layer(plan.last)
        layers["pool"] = nn.AdaptiveAvgPool2d(1)
        layers["dropout"] = nn.Dropout(plan.dropout)
        if isinstance(plan.dense, ConvPlan):
            layers.update(dense=conv2d(plan.dense), flatten=nn.Flatten())
        else:
            layers.update(flatten=nn.Flatten(), dense=linear(plan.dense))
        super().__init__(layers)


class LevelClassifiers(nn.Module):
    """A classifier on each level, and a dense layer over all: levels (n, c, h/2^k, w/2^k) to logits (n, classes)."""

    def __init__(self, plan: LevelClassifiersPlan):
        super().__init__()
        self.levels = nn.ModuleDict({name: level_classifier(plan, layer) for name, layer in plan.levels})
        self.final = linear(plan.final)

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Map levels (n, c, h/2^k, w/2^k), finest first, to logits (n, classes)."""
        votes = [classify(x) for classify, x in zip(self.levels.values(), maps, strict=True)]  # (n, classes) each
        logits: Tensor = self.final(torch.cat(votes, dim=1))  # (n, levels × classes) to (n, classes)
        return logits


def level_classifier(plan: LevelClassifiersPlan, layer: LinearPlan) -> nn.Module:
    """Build the classifier of one level: flatten or average, dropout, dense layer, ReLU."""
    layers: OrderedDict[str, nn.Module] = OrderedDict(pool=nn.AdaptiveAvgPool2d(1)) if plan.pool else OrderedDict()
    dropout, dense, act = nn.Dropout(plan.dropout), linear(layer), nn.ReLU(inplace=True)
    layers.update(flatten=nn.Flatten(), dropout=dropout, dense=dense, act=act)
    return nn.Sequential(layers)


class LevelHead(nn.Module):
    """The convolutions of a branch on one level, or on all that share them.

    Attributes:
        tower: the convolutions before the last ones.
        outputs: the names of the outputs, in order; each is also the name of its last convolution.
    """

    def __init__(self, plan: LevelHeadPlan):
        super().__init__()
        self.tower = nn.ModuleList(map(conv_layer, plan.tower))
        self.outputs = tuple(name for name, _ in plan.last)
        for name, layer in plan.last:
            self.add_module(name, conv_layer(layer))

    def forward(self, x: Tensor, values: Sequence[int], norms: Sequence[nn.Module] = ()) -> list[Tensor]:
        """Map a level (n, c, h, w) to outputs (n, cells × anchors, values), one for each of ``values``."""
        x = self.climb(x, norms)
        # (n, h × w × anchors, values) each
        return [self.by_cell(last(x), n) for last, n in zip(self.last_layers(), values, strict=True)]

    def climb(self, x: Tensor, norms: Sequence[nn.Module] = ()) -> Tensor:
        """Map a level (n, c, h, w) to what its last convolutions read: (n, channels, h, w)."""
        for index, layer in enumerate(self.tower):
            x = layer(x)
            if norms:
                x = norms[index](x)
        return x

    def last_layers(self) -> list[nn.Module]:
        """Return the convolutions that compute the outputs."""
        return [self.get_submodule(name) for name in self.outputs]

    def by_cell(self, x: Tensor, values: int) -> Tensor:
        """Put the values of each cell and anchor next to each other: (n, anchors × values, h, w) to (n, all, values).

        It copies a map of one cell as well, so that an exported program need not ask whether there is one.
        """
        return x.permute(0, 2, 3, 1).clone(memory_format=torch.contiguous_format).view(x.shape[0], -1, values)


class Branch(nn.Module):
    """A tower and the outputs that are computed from it, on all levels."""

    def __init__(self, plan: BranchPlan, dense: DensePlan):
        super().__init__()
        values = dict(dense.values)
        self.values = [values[name] for name in plan.outputs]
        for level in plan.levels:
            self.add_module(level.name, LevelHead(level))
        self.levels = [plan.levels[min(k, len(plan.levels) - 1)].name for k in range(len(dense.anchors))]
        names = [name for name, _ in dense.anchors] if plan.norms else []
        self.norms = nn.ModuleDict({name: nn.ModuleList(map(NormAct, plan.norms)) for name in names}) if names else None

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """Map levels (n, c, h/2^k, w/2^k), finest first, to outputs (n, all anchors, values)."""
        norms = list(self.norms.values()) if self.norms else [()] * len(maps)
        parts = [
            self.get_submodule(name)(x, self.values, own) for name, x, own in zip(self.levels, maps, norms, strict=True)
        ]
        return [torch.cat(levels, dim=1) for levels in zip(*parts, strict=True)]  # (n, all anchors, values) each


class DenseHead(nn.Module):
    """The head of a detector: on each level, values for each cell and anchor.

    Attributes:
        outputs: the names of the outputs, in order.
    """

    def __init__(self, plan: DensePlan):
        super().__init__()
        self.outputs = plan.outputs
        self.branches = [branch.name for branch in plan.branches]
        for branch in plan.branches:
            self.add_module(branch.name, Branch(branch, plan))

    def forward(self, maps: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Map levels (n, c, h/2^k, w/2^k), finest first, to outputs (n, all anchors, values).

        Anchors come level by level, finest first, cell by cell, row by row, as in torchvision.
        """
        return tuple(output for name in self.branches for output in self.get_submodule(name)(maps))


def build_head(plan: HeadPlan) -> Classifier | LevelClassifiers | DenseHead:
    """Build a head."""
    match plan:
        case ClassifierPlan():
            return Classifier(plan)
        case LevelClassifiersPlan():
            return LevelClassifiers(plan)
        case DensePlan():
            return DenseHead(plan)
