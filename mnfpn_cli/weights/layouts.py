"""Layouts of checkpoints: for each, the names of the layers that mnfpn knows by their role.

A template may use the variables of a layer from `weights.match`: ``{stage}``, ``{block}``, ``{flat}`` and so on.
"""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Layout:
    """A naming scheme for the tensors of a network.

    Attributes:
        name: the library or project that it comes from.
        names: the path of the module, for each role; no entry where the layout has no such layer.
        aliases: other spellings of a module: pattern and replacement, applied in order before anything else.
        heads: where the branches of a detector's head are, ``{head}`` in the templates of their layers.
        others: a pattern of keys of what no network of ours has, such as the second stage of a detector.
        from_top: whether laterals and smoothings count from the coarsest level down, not from the finest up.
        shares: whether one layer may stand under several keys.
        settings: that its networks have, and that no tensor shows.
    """

    name: str
    names: Mapping[str, str]
    aliases: tuple[tuple[re.Pattern[str], str], ...] = ()
    heads: Mapping[str, str] = field(default_factory=dict)
    others: str = ""
    from_top: bool = False
    shares: bool = False
    settings: tuple[tuple[str, object], ...] = ()

    def has_stem(self, modules: Collection[str]) -> bool:
        """Return whether a checkpoint has the first convolution under this layout's name: a quick test of a layout."""
        stem = self.names["stem.conv"]
        return stem in modules or any(self.normal(module) == stem for module in modules if STEM.search(module))

    def normal(self, module: str) -> str:
        """Return a module's path in the spelling of ``names``."""
        for pattern, replacement in self.aliases:
            module = pattern.sub(replacement, module)
        return module

    def name_of(self, role: str, path: str, variables: Mapping[str, object]) -> str:
        """Return the module of a role; empty where the layout has none. In our own layout it is the path."""
        if not self.names:
            return path
        template = self.names.get(role) or (self.names.get("lateral", "") if role == "top" else "")
        head = self.heads.get(str(variables.get("branch")), "")
        return template.format_map({**variables, "head": head}) if head or "{head}" not in template else ""

    def branch_of(self, module: str) -> str | None:
        """Return the branch of a detector's head that a module belongs to, in the spelling of ``names``."""
        return next((branch for branch, head in self.heads.items() if f"{module}.".startswith(f"{head}.")), None)

    def pattern(self, role: str, part: str, variables: Mapping[str, object]) -> str:
        """Return a regular expression for the modules of a role, at any level."""
        if not self.names:
            return rf"{re.escape(part)}(?:\.\w+)*"
        template = self.names.get(role, "")
        if part.startswith("head."):
            template = template.format_map(variables)
        return r"\w+".join(re.escape(piece) for piece in re.split(r"\{\w+\}", template))


STEM = re.compile(r"(?:^|\.)(?:0\.0|conv1|conv_stem|layer_1_conv|Conv1|first_layer\.0)$")
"""The endings of the first convolution's path in all layouts."""

OURS = Layout("mnfpn", {})
"""The layout in which every module's name is its own path."""

FEATURES = {
    "stem.conv": "features.0.0",
    "stem.norm": "features.0.1",
    "last.conv": "features.{flat}.0",
    "last.norm": "features.{flat}.1",
    "dense": "classifier.1",
}
TORCHVISION_MOBILENET_V2 = FEATURES | {
    "expand.conv": "features.{flat}.conv.{position}.0",
    "expand.norm": "features.{flat}.conv.{position}.1",
    "depthwise.conv": "features.{flat}.conv.{position}.0",
    "depthwise.norm": "features.{flat}.conv.{position}.1",
    "project.conv": "features.{flat}.conv.{position}",
    "project.norm": "features.{flat}.conv.{next}",
}
TONYLINS_MOBILENET_V2 = FEATURES | {
    role: f"features.{{flat}}.conv.{{{'third' if role.endswith('conv') else 'third_next'}}}"
    for role in ("expand.conv", "expand.norm", "depthwise.conv", "depthwise.norm", "project.conv", "project.norm")
}
TIMM_MOBILENET_V2 = {
    "stem.conv": "conv_stem",
    "stem.norm": "bn1",
    "expand.conv": "blocks.{stage}.{block}.conv_pw",
    "expand.norm": "blocks.{stage}.{block}.bn{next}",
    "depthwise.conv": "blocks.{stage}.{block}.conv_dw",
    "depthwise.norm": "blocks.{stage}.{block}.bn{next}",
    "project.conv": "blocks.{stage}.{block}.{project}",
    "project.norm": "blocks.{stage}.{block}.bn{next}",
    "last.conv": "conv_head",
    "last.norm": "bn2",
    "dense": "classifier",
}
RESNET = {
    "stem.conv": "conv1",
    "stem.norm": "bn1",
    "reduce.conv": "layer{stage_1}.{block}.conv1",
    "reduce.norm": "layer{stage_1}.{block}.bn1",
    "spatial.conv": "layer{stage_1}.{block}.conv2",
    "spatial.norm": "layer{stage_1}.{block}.bn2",
    "restore.conv": "layer{stage_1}.{block}.conv3",
    "restore.norm": "layer{stage_1}.{block}.bn3",
    "shortcut.conv": "layer{stage_1}.{block}.downsample.0",
    "shortcut.norm": "layer{stage_1}.{block}.downsample.1",
    "dense": "fc",
}
RESNET_FROM_LAYER_2 = {role: name.replace("{stage_1}", "{stage_2}") for role, name in RESNET.items()}
TORCHVISION_FPN = {
    "lateral": "fpn.inner_blocks.{from_finest}.0",
    "smooth": "fpn.layer_blocks.{from_finest}.0",
    "extra": "fpn.extra_blocks.p{from_6}",
}
PYTORCH_FPN = {
    "top": "toplayer",
    "lateral": "latlayer{from_top}",
    "smooth": "smooth{from_top}",
    "extra": "conv{number}",
}
TORCHVISION_HEADS = {
    "retinanet.shared.tower": "{head}.conv.{index}.0",
    "retinanet.shared.tower.norm": "{head}.conv.{index}.1",
    "retinanet.shared.cls_logits": "{head}.cls_logits",
    "retinanet.shared.bbox_regression": "{head}.bbox_reg",
    "fcos.shared.tower": "{head}.conv.{third}",
    "fcos.shared.tower.norm": "{head}.conv.{third_next}",
    "fcos.shared.cls_logits": "{head}.cls_logits",
    "fcos.shared.bbox_regression": "{head}.bbox_reg",
    "fcos.shared.bbox_ctrness": "{head}.bbox_ctrness",
    "rpn.shared.tower": "{head}.conv.{index}.0",
    "rpn.shared.objectness": "{head}.cls_logits",
    "rpn.shared.bbox_regression": "{head}.bbox_pred",
    **{
        f"{kind}.level.{output}{part}": f"{{head}}.module_list.{{level}}{where}"
        for output in ("cls_logits", "bbox_regression")
        for kind, part, where in (
            ("ssd", "", ""),
            ("ssdlite", ".depthwise", ".0.0"),
            ("ssdlite", ".depthwise.norm", ".0.1"),
            ("ssdlite", ".pointwise", ".1"),
        )
    },
}
TORCHVISION_BRANCHES = {"cls": "head.classification_head", "box": "head.regression_head", "joint": "rpn.head"}
OLD_TOWERS = {"retinanet.shared.tower": "{head}.conv.{twice}"}
"""As in torchvision's RetinaNet before 0.13, and in the weights that it publishes."""

TORCHCV_HEADS = {
    "retinanet.shared.tower": "{head}.{twice}",
    "retinanet.shared.cls_logits": "{head}.{last}",
    "retinanet.shared.bbox_regression": "{head}.{last}",
}
TORCHCV_BRANCHES = {"cls": "cls_head", "box": "loc_head"}
DYNAMIC_FPN = {
    "stem.conv": "first_layer.0",
    "stem.norm": "first_layer.1",
    **{
        f"{role}.{part}": f"inverted_residual_blocks.{{stage}}.{{block}}.conv.{{{position}}}"
        for role in ("expand", "depthwise", "project")
        for part, position in (("conv", "third"), ("norm", "third_next"))
    },
    "pooled": "top_layer",
    "lateral": "lateral_layers.{from_finest}",
    "smooth": "smooth_layers.{from_top}",
}
PLAIN_CLASSIFIER = {
    "stem.conv": "layer_1_conv",
    "expand.conv": "layer_{stage_2}_bottleneck{of_several}.conv_1",
    "expand.norm": "layer_{stage_2}_bottleneck{of_several}.bn_1",
    "depthwise.conv": "layer_{stage_2}_bottleneck{of_several}.conv_2_dw",
    "depthwise.norm": "layer_{stage_2}_bottleneck{of_several}.bn_2",
    "project.conv": "layer_{stage_2}_bottleneck{of_several}.conv_2_pw",
    "project.norm": "layer_{stage_2}_bottleneck{of_several}.bn_3",
    "last.conv": "layer_{stage_2}_conv",
    "dense": "layer_{stage_4}_conv",
}
KERAS = {
    "stem.conv": "Conv1",
    "stem.norm": "bn_Conv1",
    **{f"{part}.conv": f"{{keras_block}}_{part}" for part in ("expand", "depthwise", "project")},
    **{f"{part}.norm": f"{{keras_block}}_{part}_BN" for part in ("expand", "depthwise", "project")},
    "last.conv": "Conv_1",
    "last.norm": "Conv_1_bn",
    "dense": "predictions",
    "dense.others": "predictions.{{name}}",
}

BODY = (
    (re.compile(r"^backbone\.(?=body|fpn)"), ""),
    (re.compile(r"^(fpn\.(?:inner|layer)_blocks\.\d+)$"), r"\1.0"),  # before torchvision 0.13
    (re.compile(r"^rpn\.head\.conv$"), "rpn.head.conv.0.0"),
)
"""As torchvision's detectors name a backbone with a pyramid."""

MOBILENET_BODY = (*BODY, (re.compile(r"^body\."), "features."))
RESNET_BODY = (*BODY, (re.compile(r"^body\."), ""))
SECOND_STAGE = r"roi_heads\."
SHORTCUT = ((re.compile(r"\.shortcut\."), ".downsample."), (re.compile(r"^fpn\."), ""))
"""As pytorch-fpn names the shortcuts, and detectors the pyramid."""

OF_TORCHVISION = TORCHVISION_FPN | TORCHVISION_HEADS
LAYOUTS = (
    Layout(
        "torchvision",
        TORCHVISION_MOBILENET_V2 | OF_TORCHVISION,
        MOBILENET_BODY,
        heads=TORCHVISION_BRANCHES,
        others=SECOND_STAGE,
    ),
    Layout("tonylins", TONYLINS_MOBILENET_V2, ((re.compile(r"^classifier$"), "classifier.1"),)),
    Layout("timm", TIMM_MOBILENET_V2),
    Layout("torchvision ResNet", RESNET | OF_TORCHVISION, RESNET_BODY, heads=TORCHVISION_BRANCHES, others=SECOND_STAGE),
    Layout(
        "torchvision ResNet before 0.13",
        RESNET | OF_TORCHVISION | OLD_TOWERS,
        RESNET_BODY,
        heads=TORCHVISION_BRANCHES,
        others=SECOND_STAGE,
    ),
    Layout("pytorch-fpn", RESNET | PYTORCH_FPN | TORCHCV_HEADS, SHORTCUT, heads=TORCHCV_BRANCHES, from_top=True),
    Layout("pytorch-fpn RetinaFPN", RESNET_FROM_LAYER_2 | PYTORCH_FPN, SHORTCUT, from_top=True),
    Layout("MobileNetV2 dynamic FPN", DYNAMIC_FPN, shares=True),
    Layout("MobileNetV2 plain classifier", PLAIN_CLASSIFIER),
    Layout("Keras", KERAS, settings=(("padding", "same"), ("norm_eps", 1e-3))),
)
