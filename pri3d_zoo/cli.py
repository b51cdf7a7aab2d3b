"""`pri3d-zoo`: what is in the zoo, checkpoints from one format to another, features to look at."""

import argparse
import sys
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import torch

from . import __version__
from .convert import FORMATS, PARTS
from .convert_files import convert_file
from .factory import check_name, create_model, list_models
from .features import ImageError, draw_features, write_page
from .hub import WAY_OUT, available, config_at_hand, row_at
from .weights import WEIGHT_FILE, WeightsError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; 0 if all went well, 1 after a mistake of the user's, told in one sentence."""
    options = _parser().parse_args(arguments)
    try:
        for line in options.run(options):
            print(line)
    except (WeightsError, ImageError) as error:
        print(f"pri3d-zoo: {error}", file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="pri3d-zoo", description="Image backbones that know 3D.")
    parser.add_argument("--version", action="version", version=f"pri3d-zoo {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    listing = commands.add_parser("list", help="the models, their sizes, and which weights can be had")
    listing.add_argument("pattern", nargs="?", default="*", help="shell pattern of model names (default: all)")
    listing.set_defaults(run=_list)

    info = commands.add_parser("info", help="one model in detail")
    info.add_argument("name", metavar="NAME", help="model name, with or without a tag")
    info.set_defaults(run=_info)

    convert = commands.add_parser(
        "convert", help="a checkpoint in another format: the authors', torchvision's, detectron2's, the zoo's"
    )
    convert.add_argument("source", metavar="SRC", type=Path, help="a .pth, .pt, .pkl or .safetensors file")
    convert.add_argument("destination", metavar="DST", type=Path, help="the file to write; for timm also a folder")
    convert.add_argument("--to", required=True, choices=(*FORMATS, "minkowski"), help="the format to write")
    convert.add_argument("--part", choices=tuple(PARTS), help="which network of a checkpoint (default: what fits)")
    convert.add_argument("--model", metavar="NAME", help="what it has to fit (default: the ResNet of its depth)")
    convert.add_argument("--allow-mismatch", action="store_true", help="write even what does not fit")
    convert.set_defaults(run=_convert)

    features = commands.add_parser(
        "features", help="a picture of images and of their features as colours, or a page to point at their matches"
    )
    features.add_argument("name", metavar="NAME", help="model name, with or without a tag")
    features.add_argument("images", metavar="IMAGE", type=Path, nargs="+", help="image files")
    features.add_argument("--out", metavar="FILE", type=Path, help="the picture, .png or .jpg")
    features.add_argument("--html", metavar="FILE", type=Path, help="the page, .html; for two images")
    features.add_argument("--weights", metavar="FOLDER", help="a weight folder or file, instead of what is published")
    features.add_argument(
        "--beside",
        metavar="WEIGHTS",
        help="in the page: what to compare with, a weight folder or file for NAME, or another name (random weights)",
    )
    features.add_argument(
        "--pixel", metavar=("U", "V"), type=int, nargs=2, help="of two images: find this pixel of the first (centre)"
    )
    features.set_defaults(run=_features)
    return parser


def _list(options: argparse.Namespace) -> list[str]:
    # registered models, and those on other encoders that there are weights of
    models = list(dict.fromkeys([*list_models(options.pattern), *list_models(options.pattern, pretrained=True)]))
    if not models:
        raise WeightsError(f"no model is called like {options.pattern!r}; `pri3d-zoo list` shows them all")
    rows = [("model", "tag", "parameters", "size", "licence", "metric")]
    for model in models:
        for tag, place in (available(model) or {"-": ""}).items():
            rows.append((model, tag, _millions(model), *_facts(model, tag, place)))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    form = "{{:<{}}}  {{:<{}}}  {{:>{}}}  {{:>{}}}  {{:<{}}}  {{:<{}}}".format(*widths)
    return [form.format(*row).rstrip() for row in rows]


def _facts(model: str, tag: str, place: str) -> tuple[str, str, str]:
    """Size, licence and first metric of what lies at a place of `available`."""
    if not place:
        return "-", "-", "-"
    row = row_at(model, tag, place)
    if row is None or row.size is None:
        return _megabytes((Path(place) / WEIGHT_FILE).stat().st_size), "see its card", "-"
    return _megabytes(row.size), row.licence, next((f"{value:g} {name}" for name, value in row.metrics.items()), "-")


def _convert(options: argparse.Namespace) -> list[str]:
    report = convert_file(
        options.source,
        options.destination,
        options.to,
        part=options.part,
        model=options.model,
        allow_mismatch=options.allow_mismatch,
    )
    return [f"{options.destination}: {report.summary()}"]


def _features(options: argparse.Namespace) -> list[str]:
    if options.out is None and options.html is None:
        raise ImageError("there is nothing to write: give --out FILE for a picture, --html FILE for a page, or both")
    if options.beside and options.html is None:
        raise ImageError("--beside is for the page; give --html FILE as well")
    model = create_model(options.name, checkpoint_path=options.weights)
    pixel = options.pixel and tuple(options.pixel)
    lines = []
    if options.out is not None:
        lines.append(str(draw_features(model, options.images, options.out, pixel=pixel)))
    if options.html is not None:
        title, (other_title, other) = _title(options.name, options.weights), _beside(options.name, options.beside)
        if other_title == title:  # folders of one name in two places
            other_title = f"{title} ({options.beside})"
        models = {title: model, other_title: other}
        lines.append(write_page(models, options.images, options.html, pixel=pixel))
    return lines


def _beside(name: str, other: str | None) -> tuple[str, Any]:
    """What to call the model to compare with, and the model."""
    if other is None:
        with torch.random.fork_rng():
            torch.manual_seed(0)
            return "random weights of the same network", create_model(name, pretrained=False)
    if Path(other).exists():
        return _title(name, other), create_model(name, checkpoint_path=other)
    return other, create_model(other)


def _title(name: str, weights: str | None) -> str:
    """What to call the model of a name with these weights; a weight folder is often called by the model's name."""
    called = Path(weights).name if weights else name
    return called if called.startswith(name) else f"{name}, {called}"


def _info(options: argparse.Namespace) -> list[str]:
    model, _, tag = options.name.partition(".")
    check_name(model)
    network = _network(model)
    places = available(model)
    if tag and tag not in places:
        raise WeightsError(f"no weights {options.name} can be had here; tags of {model}: {', '.join(places) or 'none'}")
    stages = ", ".join(f"{info['num_chs']} at 1/{info['reduction']}" for info in network.feature_info)
    lines = [("model", model), ("parameters", _millions(model)), ("features", stages)]
    asked = {found: place for found, place in places.items() if found == tag or not tag}
    configs = {found: config_at_hand(model, found, place) for found, place in asked.items()}
    if not any("input_size" in config for config in configs.values()):
        lines += _images(network.pretrained_cfg)
    for found, place in asked.items():
        lines.append((f"weights .{found}", place))
        if "input_size" in configs[found]:
            lines += [(f"  {key}", value) for key, value in _images(network.pretrained_cfg | configs[found])]
        row = row_at(model, found, place)
        if row is None:
            lines += [("  size", _facts(model, found, place)[0]), ("  licence", "see its card")]
        else:
            lines += [
                ("  licence", f"{row.licence}; terms of the data: {row.terms}"),
                ("  data", row.data),
                ("  recipe", f"{row.recipe}: {row.command}"),
                ("  metrics", f"{dict(row.metrics)} ({row.protocol})"),
                ("  paper", row.paper),
            ]
    if not places:
        lines.append(("weights", f"none can be had yet: {WAY_OUT}"))
    width = max(len(key) for key, _ in lines) + 2
    return [f"{key:<{width}}{value}" for key, value in lines]


def _images(cfg: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What a model wants of its images."""
    return [
        ("input", "x".join(map(str, cfg["input_size"])) + " (any size works)"),
        ("mean, std", f"{tuple(cfg['mean'])}, {tuple(cfg['std'])}"),
    ]


@cache
def _network(model: str) -> Any:
    with torch.device("meta"):  # shapes without memory or random numbers
        return create_model(model, pretrained=False)


def _megabytes(size: int) -> str:
    return f"{size / 1e6:.1f} MB"


def _millions(model: str) -> str:
    return f"{sum(parameter.numel() for parameter in _network(model).parameters()) / 1e6:.1f} M"
