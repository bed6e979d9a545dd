"""The networks of packages on PyPI: small variants of every family, with random weights and nothing downloaded."""

import importlib
import inspect
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from mnfpn_cli.trace.passes import Input

Made = tuple[nn.Module, tuple[Input, ...]]
"""A network and the inputs of one pass."""


@dataclass(frozen=True)
class Network:
    """A network of a package, which is built when it is audited."""

    name: str
    make: Callable[[], Made]


def image(side: int, channels: int = 3) -> tuple[Input, ...]:
    """One square image."""
    return (Input((1, channels, side, side)),)


def volume(*shape: int) -> tuple[Input, ...]:
    """One volume or clip."""
    return (Input((1, *shape)),)


def spread(names: list[str], count: int) -> list[str]:
    """Return some names at equal distances, the first and the last among them."""
    if len(names) <= count:
        return names
    return [names[round(index * (len(names) - 1) / (count - 1))] for index in range(count)]


LARGE = re.compile(r"giant|gigantic|huge|large|enormous|xxlarge|so\d+m|_\d+b[_.]|7b|_g_|_h_|xl|_l2|_e_|pe_core_g|rmax")
"""Variants that take gigabytes; their families have smaller ones."""


def timm_networks() -> Iterator[Network]:
    """Four variants of every file of timm's."""
    timm = importlib.import_module("timm")

    def make(name: str) -> Made:
        network = timm.create_model(name, pretrained=False)
        return network, (Input((1, *network.pretrained_cfg["input_size"])),)

    for file in timm.list_modules():
        names = timm.list_models(module=file)
        for name in spread([each for each in names if not LARGE.search(each)] or names[:1], 4):
            yield Network(name, partial(make, name))


def torchvision_networks() -> Iterator[Network]:
    """All but the largest; the quantised ones are built without quantisation, as their weights would have to be."""
    models = importlib.import_module("torchvision.models")
    sides = {"inception_v3": 299, "quantized_inception_v3": 299}

    def make(name: str) -> Made:
        if name.startswith("raft"):
            return models.get_model(name), image(128) * 2
        if name in ("s3d",) or re.search(r"3d|_18$|mvit", name):
            side = 224 if "mvit" in name or "swin" in name or name == "s3d" else 112
            return models.get_model(name), volume(3, 16, side, side)
        wants = {"weights": None} | ({"weights_backbone": None} if re.search("fpn|ssd|deeplab|fcn|raspp", name) else {})
        return models.get_model(name, **wants), image(sides.get(name, 224))

    for name in models.list_models():
        if not re.search(r"128gf|vit_h|_32gf|64x4d|32x8d", name):
            yield Network(name, partial(make, name))


def smp_networks() -> Iterator[Network]:
    """Every decoder with encoders of ten families."""
    smp = importlib.import_module("segmentation_models_pytorch")
    encoders: tuple[str, ...] = (
        "resnet18",
        "mobilenet_v2",
        "efficientnet-b0",
        "timm-efficientnet-b0",
        "densenet121",
        "vgg11_bn",
    )
    encoders += ("mit_b0", "mobileone_s0", "dpn68", "timm-skresnet18", "tu-convnext_atto", "tu-mobilenetv3_small_050")

    def make(decoder: str, encoder: str) -> Made:
        return smp.create_model(decoder, encoder, encoder_weights=None), image(256)

    decoders = [
        "unet",
        "unetplusplus",
        "manet",
        "linknet",
        "fpn",
        "pspnet",
        "deeplabv3",
        "deeplabv3plus",
        "pan",
        "upernet",
        "segformer",
    ]
    for decoder in decoders:
        for encoder in encoders:
            yield Network(f"{decoder} {encoder}", partial(make, decoder, encoder))
    vit = "tu-vit_tiny_patch16_224"
    yield Network(f"dpt {vit}", lambda: (smp.create_model("dpt", vit, encoder_weights=None), image(224)))


def ultralytics_networks() -> Iterator[Network]:
    """Every YAML file, at its smallest scale."""
    ultralytics = importlib.import_module("ultralytics")
    tasks = importlib.import_module("ultralytics.nn.tasks")
    folder = Path(str(ultralytics.__file__)).parent / "cfg" / "models"
    kinds = {"cls": "Classification", "seg": "Segmentation", "pose": "Pose", "obb": "OBB", "sem": "Semantic"}
    kinds |= {"world": "World", "worldv2": "World", "depth": "Depth"}

    def make(file: Path, name: str) -> Made:
        kind = next((kinds[part] for part in reversed(file.stem.split("-")) if part in kinds), "Detection")
        if file.stem.startswith("yoloe"):
            kind = "YOLOESeg" if file.stem.endswith("seg") else "YOLOE"
        if "rtdetr" in file.stem:
            kind = "RTDETRDetection"
        build = getattr(tasks, f"{kind}Model", None) or getattr(tasks, f"{kind}SegmentationModel")
        return build(cfg=str(file.with_name(name)), verbose=False), image(224 if kind == "Classification" else 256)

    for file in sorted(folder.rglob("*.yaml")):
        if re.search("yolov10[blmx]|rtdetr-x|cls-resnet", file.name):  # larger ones of another, or downloaded
            continue
        scaled = re.sub(r"^(yolo(?:v3|v5|v6|v8|11|12|26|e-v8|e-11|e-26))(?=-|\.)", r"\1n", file.name)
        has_scales = "scales:" in file.read_text()
        yield Network(
            Path(scaled if has_scales else file.name).stem, partial(make, file, scaled if has_scales else file.name)
        )


def pytorchcv_networks() -> Iterator[Network]:
    """Of each family and data set, the variant with the shortest name."""
    provider = importlib.import_module("pytorchcv.model_provider")
    families: dict[tuple[str, str], str] = {}
    for name in sorted(provider._models, key=lambda name: (len(name), name)):
        families.setdefault((re.split(r"\d|_", name)[0], name.rpartition("_")[2] if name.count("_") else ""), name)

    grey = re.compile("pfpcnet|superpoint")

    def make(name: str) -> Made:
        network = provider.get_model(name, pretrained=False)
        sides = getattr(network, "in_size", (224, 224))
        channels = 1 if grey.match(name) else getattr(network, "in_channels", 3)
        return network, (Input((1, channels, *sides)),) * (2 if name.startswith("raft") else 1)

    for (_, dataset), name in families.items():
        is_image = dataset not in ("ls", "mcv", "pl", "ru", "de", "en", "fr", "it", "es", "ca")
        is_image &= not re.search("jasper|propainter|voca|viseme", name)  # speech, or several inputs
        if is_image and (not dataset or not dataset[0].isdigit()):
            yield Network(name, partial(make, name))


def monai_networks() -> Iterator[Network]:
    """Networks for medical images, in two and three dimensions."""
    nets = importlib.import_module("monai.networks.nets")
    flat: dict[str, Any] = {"spatial_dims": 2, "in_channels": 1, "out_channels": 2}
    deep = flat | {"spatial_dims": 3}
    small = {"channels": (8, 16, 32), "strides": (2, 2)}
    auto = {"channels": (8, 16, 32), "strides": (2, 2, 2)}
    cases: list[tuple[str, dict[str, Any], tuple[Input, ...]]] = [
        ("UNet", flat | small, image(64, 1)),
        ("UNet", deep | small | {"num_res_units": 2}, volume(1, 32, 32, 32)),
        ("AttentionUnet", flat | small, image(64, 1)),
        ("BasicUNet", flat, image(64, 1)),
        ("BasicUNetPlusPlus", flat, image(64, 1)),
        ("BasicUNetPlusPlus", flat | {"deep_supervision": True}, image(64, 1)),
        (
            "DynUNet",
            flat | {"kernel_size": [3, 3, 3], "strides": [1, 2, 2], "upsample_kernel_size": [2, 2]},
            image(64, 1),
        ),
        (
            "DynUNet",
            flat
            | {"kernel_size": [3, 3, 3], "strides": [1, 2, 2], "upsample_kernel_size": [2, 2]}
            | {"deep_supervision": True, "res_block": True},
            image(64, 1),
        ),
        ("SegResNet", flat, image(64, 1)),
        ("SegResNetVAE", flat | {"input_image_size": (64, 64)}, image(64, 1)),
        ("SegResNetDS", flat | {"dsdepth": 2}, image(64, 1)),
        ("SegResNetDS2", flat | {"dsdepth": 2}, image(64, 1)),
        ("VNet", flat, image(64, 1)),
        ("HighResNet", flat, image(32, 1)),
        ("AHNet", flat | {"upsample_mode": "transpose"}, image(128, 1)),
        ("DenseNet121", flat, image(64, 1)),
        (
            "EfficientNetBN",
            {"model_name": "efficientnet-b0", "pretrained": False, "in_channels": 1, "spatial_dims": 2},
            image(64, 1),
        ),
        ("SEResNet50", {"spatial_dims": 2, "in_channels": 1, "num_classes": 2}, image(64, 1)),
        ("SENet154", {"spatial_dims": 2, "in_channels": 1, "num_classes": 2}, image(64, 1)),
        ("resnet18", {"spatial_dims": 3, "n_input_channels": 1, "num_classes": 2}, volume(1, 32, 32, 32)),
        ("UNETR", deep | {"img_size": 32, "feature_size": 8, "hidden_size": 96, "mlp_dim": 128}, volume(1, 32, 32, 32)),
        ("SwinUNETR", flat | {"feature_size": 12}, image(64, 1)),
        (
            "ViT",
            {"in_channels": 1, "img_size": 64, "patch_size": 16, "spatial_dims": 2, "classification": True},
            image(64, 1),
        ),
        ("ViT", {"in_channels": 1, "img_size": 64, "patch_size": 16, "spatial_dims": 2}, image(64, 1)),
        ("ViTAutoEnc", {"in_channels": 1, "img_size": 64, "patch_size": 16, "spatial_dims": 2}, image(64, 1)),
        ("MaskedAutoEncoderViT", {"in_channels": 1, "img_size": 64, "patch_size": 16, "spatial_dims": 2}, image(64, 1)),
        (
            "FlexibleUNet",
            {"in_channels": 3, "out_channels": 2, "backbone": "efficientnet-b0", "spatial_dims": 2},
            image(64),
        ),
        ("AutoEncoder", flat | auto, image(64, 1)),
        (
            "VarAutoEncoder",
            {"spatial_dims": 2, "in_shape": (1, 32, 32), "out_channels": 1, "latent_size": 8} | auto,
            image(32, 1),
        ),
        (
            "AutoencoderKL",
            flat | {"channels": (32, 64, 64), "attention_levels": (False, False, True), "num_res_blocks": 1},
            image(64, 1),
        ),
        (
            "VQVAE",
            flat
            | {"channels": (16, 32), "num_res_channels": (16, 32)}
            | {"downsample_parameters": ((2, 4, 1, 1),) * 2, "upsample_parameters": ((2, 4, 1, 1, 0),) * 2},
            image(64, 1),
        ),
        ("HoVerNet", {"mode": "fast", "in_channels": 3, "out_classes": 5}, image(256)),
        ("RegUNet", flat | {"num_channel_initial": 8, "depth": 2}, image(64, 1)),
        ("LocalNet", flat | {"num_channel_initial": 8, "extract_levels": (0, 1, 2)}, image(64, 1)),
        (
            "GlobalNet",
            {"image_size": (64, 64), "spatial_dims": 2, "in_channels": 1, "num_channel_initial": 8, "depth": 3},
            image(64, 1),
        ),
        (
            "VoxelMorphUNet",
            {
                "spatial_dims": 2,
                "in_channels": 2,
                "unet_out_channels": 16,
                "channels": (16, 16, 16, 16),
                "final_conv_channels": (16,),
            },
            image(64, 2),
        ),
        ("Quicknat", {"num_classes": 2, "num_channels": 1}, image(64, 1)),
        ("MedNeXtS", flat, image(64, 1)),
        ("PatchDiscriminator", flat | {"channels": 16}, image(64, 1)),
        ("MultiScalePatchDiscriminator", flat | {"channels": 16, "num_d": 2, "num_layers_d": 2}, image(128, 1)),
        ("Classifier", {"in_shape": (1, 64, 64), "classes": 2} | small, image(64, 1)),
        ("Regressor", {"in_shape": (1, 64, 64), "out_shape": (2,)} | small, image(64, 1)),
        ("Discriminator", {"in_shape": (1, 64, 64)} | small, image(64, 1)),
        ("MILModel", {"num_classes": 2, "pretrained": False, "backbone": "resnet18"}, volume(4, 3, 64, 64)),
        ("MILModel", {"num_classes": 2, "pretrained": False, "mil_mode": "att_trans"}, volume(4, 3, 64, 64)),
        ("TorchVisionFCModel", {"model_name": "resnet18", "num_classes": 2}, image(224)),
        ("DAF3D", {"in_channels": 1, "out_channels": 2}, volume(1, 32, 32, 32)),
        (
            "DiffusionModelUNet",
            flat
            | {"channels": (32, 64), "attention_levels": (False, True), "num_head_channels": 8, "num_res_blocks": 1},
            (*image(32, 1), Input((1,), torch.int64)),
        ),
    ]
    for index, (name, arguments, inputs) in enumerate(cases):
        again = sum(name == other for other, _, _ in cases[:index])

        def make(name: str = name, arguments: dict[str, Any] = arguments, inputs: tuple[Input, ...] = inputs) -> Made:
            build = getattr(nets, name)
            taken = inspect.signature(build).parameters
            open_ended = any(each.kind is each.VAR_KEYWORD for each in taken.values())
            return build(**{key: value for key, value in arguments.items() if open_ended or key in taken}), inputs

        yield Network(f"{name} {again + 1}" if again else name, make)


def transformers_networks() -> Iterator[Network]:
    """Its networks for images, from their default settings with backbones of random weights."""
    transformers = importlib.import_module("transformers")
    auto = importlib.import_module("transformers.models.auto.modeling_auto")

    def make(kind: str, name: str) -> Made:
        network_class = getattr(transformers, name)
        config = network_class.config_class()
        for part in (config, getattr(config, "backbone_config", None)):
            if part is not None and getattr(part, "use_pretrained_backbone", False):
                part.use_pretrained_backbone = False
        if "Backbone" in name and hasattr(config, "stage_names") and not re.search("ConvNext|FocalNet", name):
            config.out_indices = tuple(range(1, len(config.stage_names)))
        side = getattr(config, "image_size", None) or 224
        side = side if isinstance(side, int) else side[0]
        channels: int = getattr(config, "num_channels", None) or 3
        if kind == "VIDEO_CLASSIFICATION":
            frames: Any = getattr(config, "num_frames", None) or getattr(config, "frames_per_clip", 16)
            return built(network_class, config), volume(frames, channels, side, side)
        return built(network_class, config), image(side, channels)

    def built(network_class: Any, config: Any) -> nn.Module:
        on_meta = not re.search(
            "Detection|Universal|DetrFor|Instance|EfficientNet|Siglip|Perceiver", network_class.__name__
        )
        with torch.device("meta" if on_meta else "cpu"):  # weights of the default sizes take seconds; some need values
            network: nn.Module = network_class(config)
        return network

    kinds = "IMAGE_CLASSIFICATION SEMANTIC_SEGMENTATION DEPTH_ESTIMATION OBJECT_DETECTION MASKED_IMAGE_MODELING"
    kinds += " VIDEO_CLASSIFICATION UNIVERSAL_SEGMENTATION IMAGE_TO_IMAGE KEYPOINT_DETECTION BACKBONE"
    for kind in kinds.split():
        for names in getattr(auto, f"MODEL_FOR_{kind}_MAPPING_NAMES").values():
            for name in names if isinstance(names, tuple) else (names,):
                if not re.search("ShieldGemma|Timm|ImageGPT", name):
                    yield Network(name, partial(make, kind, name))


def efficientnet_networks() -> Iterator[Network]:
    """Three of its sizes."""
    package = importlib.import_module("efficientnet_pytorch")

    def make(name: str) -> Made:
        return package.EfficientNet.from_name(name), image(package.EfficientNet.get_image_size(name))

    for name in ("efficientnet-b0", "efficientnet-b1", "efficientnet-b4"):
        yield Network(name, partial(make, name))


PACKAGES: dict[str, Callable[[], Iterator[Network]]] = {
    "timm": timm_networks,
    "torchvision": torchvision_networks,
    "segmentation-models-pytorch": smp_networks,
    "ultralytics": ultralytics_networks,
    "pytorchcv": pytorchcv_networks,
    "monai": monai_networks,
    "transformers": transformers_networks,
    "efficientnet-pytorch": efficientnet_networks,
}
"""The networks of each package, by its name on PyPI."""
