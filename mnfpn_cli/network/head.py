"""The heads: MobileNetV2's classifier, and classifiers on the levels of a pyramid.

Sources: Sandler et al. 2018, "MobileNetV2", table 2; Rahimzadeh et al. 2021, "A fully automated deep learning-based
network for detecting COVID-19 from a new and large lung CT scan dataset", figure 5.
"""

from collections import OrderedDict
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from mnfpn_cli.network.layers import ConvNormAct, conv2d
from mnfpn_cli.plan.head import ClassifierPlan, HeadPlan, LevelClassifiersPlan
from mnfpn_cli.plan.layers import ConvPlan, LinearPlan


class Classifier(nn.Sequential):
    """A last convolution, average pooling, dropout, and a dense layer: (n, c, h, w) to logits (n, classes)."""

    def __init__(self, plan: ClassifierPlan):
        layers: OrderedDict[str, nn.Module] = OrderedDict()
        if plan.last:
            layers["last"] = ConvNormAct(plan.last) if plan.last.norm else conv2d(plan.last)
        layers["pool"] = nn.AdaptiveAvgPool2d(1)
        layers["dropout"] = nn.Dropout(plan.dropout)
        if isinstance(plan.dense, ConvPlan):
            layers.update(dense=conv2d(plan.dense), flatten=nn.Flatten())
        else:
            layers.update(flatten=nn.Flatten(), dense=linear(plan.dense))
        super().__init__(layers)


class LevelClassifiers(nn.Module):
    """A classifier on each level, and a dense layer over all: maps (n, c, h/2^k, w/2^k) to logits (n, classes)."""

    def __init__(self, plan: LevelClassifiersPlan):
        super().__init__()
        self.levels = nn.ModuleDict({name: level_classifier(plan, layer) for name, layer in plan.levels})
        self.final = linear(plan.final)

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Classify each level, and from all of them together."""
        votes = [classify(x) for classify, x in zip(self.levels.values(), maps, strict=True)]  # (n, classes) each
        logits: Tensor = self.final(torch.cat(votes, dim=1))  # (n, levels × classes) to (n, classes)
        return logits


def level_classifier(plan: LevelClassifiersPlan, layer: LinearPlan) -> nn.Module:
    """One level's: the map flattened, or averaged, then dropout, a dense layer and ReLU."""
    layers: OrderedDict[str, nn.Module] = OrderedDict(pool=nn.AdaptiveAvgPool2d(1)) if plan.pool else OrderedDict()
    dropout, dense, act = nn.Dropout(plan.dropout), linear(layer), nn.ReLU(inplace=True)
    layers.update(flatten=nn.Flatten(), dropout=dropout, dense=dense, act=act)
    return nn.Sequential(layers)


def linear(plan: LinearPlan) -> nn.Linear:
    """The dense layer of a plan."""
    return nn.Linear(plan.in_features, plan.out_features)


def head(plan: HeadPlan) -> Classifier | LevelClassifiers:
    """The head of a plan."""
    return Classifier(plan) if isinstance(plan, ClassifierPlan) else LevelClassifiers(plan)
