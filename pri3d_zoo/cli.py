"""`pri3d-zoo`: what is in the zoo."""

import argparse
import sys
from collections.abc import Sequence
from functools import cache
from typing import Any

import timm
import torch

from . import __version__
from .factory import check_name, list_models
from .hub import WAY_OUT, available
from .weights import WeightsError, find_row


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; 0 if all went well, 1 after a mistake of the user's, told in one sentence."""
    options = _parser().parse_args(arguments)
    try:
        for line in options.run(options):
            print(line)
    except WeightsError as error:
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
    return parser


def _list(options: argparse.Namespace) -> list[str]:
    models = list_models(options.pattern)
    if not models:
        raise WeightsError(f"no model is called like {options.pattern!r}; `pri3d-zoo list` shows them all")
    rows = [f"{'model':<24}{'parameters':>12}  weights"]
    for model in models:
        rows.append(f"{model:<24}{_millions(model):>12}  {', '.join(available(model)) or 'none'}")
    return rows


def _info(options: argparse.Namespace) -> list[str]:
    model, _, tag = options.name.partition(".")
    check_name(model)
    network = _network(model)
    places = available(model)
    if tag and tag not in places:
        raise WeightsError(f"no weights {options.name} can be had here; tags of {model}: {', '.join(places) or 'none'}")
    cfg = network.pretrained_cfg
    stages = ", ".join(f"{info['num_chs']} at 1/{info['reduction']}" for info in network.feature_info)
    lines = {
        "model": model,
        "parameters": _millions(model),
        "features": stages,
        "input": "x".join(map(str, cfg["input_size"])) + " (any size works)",
        "mean, std": f"{cfg['mean']}, {cfg['std']}",
    }
    for found, place in places.items():
        if found == tag or not tag:
            row = find_row(model, found)
            facts = f"; {row.data}; recipe {row.recipe}; licence {row.licence}; {dict(row.metrics)}" if row else ""
            lines[f"weights .{found}"] = place + facts
    if not places:
        lines["weights"] = f"none can be had yet: {WAY_OUT}"
    return [f"{key:<14}{value}" for key, value in lines.items()]


@cache
def _network(model: str) -> Any:
    with torch.device("meta"):  # shapes without memory or random numbers
        return timm.create_model(model)


def _millions(model: str) -> str:
    return f"{sum(parameter.numel() for parameter in _network(model).parameters()) / 1e6:.1f} M"
