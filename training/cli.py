"""pri3d-train: every step of the way from a dataset to a weight folder, as commands."""

import logging
import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.logging import RichHandler
from rich.table import Table

from pri3d_zoo.hub import WeightsError

from .errors import InputError

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False, help=__doc__)
console = Console(width=None if sys.stdout.isatty() else 160)  # a file has no width to wrap at

Size = Annotated[tuple[int, int], typer.Option(metavar="H W", help="Height and width of the images.")]
Overrides = Annotated[
    list[str] | None,
    typer.Argument(metavar="[KEY=VALUE]...", help="What differs from the recipe; --keys prints all that there is."),
]
Keys = Annotated[bool, typer.Option("--keys", help="Print all keys with the recipe's values, and do nothing.")]
Workers = Annotated[int, typer.Option(help="Processes.", min=1)]
CORES = os.cpu_count() or 1


@app.command()
def render(
    out: Annotated[Path, typer.Argument(help="Folder to write the scenes to, in the plain folder layout.")],
    scenes: Annotated[int, typer.Option(help="Rooms.", min=1)] = 10,
    frames: Annotated[int, typer.Option(help="Frames a room.", min=2)] = 40,
    size: Size = (240, 320),
    seed: Annotated[int, typer.Option(help="Number of the first room in its split; the next ones follow.", min=0)] = 0,
    split: Annotated[
        str, typer.Option(help="train, val, or shifted: with things that are in no other room.")
    ] = "train",
    workers: Workers = CORES,
) -> None:
    """Render furnished rooms to RGB-D video with labels and the surface; `prepare synthrooms` needs no such folder."""
    from .data.sources.synthrooms import SynthRooms, seeds_of
    from .data.write_folder import write_folder

    rooms = SynthRooms(seeds_of(split, seed, seed + scenes), frames=frames, size=size)
    write_folder(rooms, out, workers=workers)
    console.print(f"{scenes} rooms of {frames} frames in {out}", soft_wrap=True)


@app.command()
def prepare(
    source: Annotated[str, typer.Argument(help="folder, synthrooms, scannet, ...; a wrong name lists them all.")],
    root: Annotated[str, typer.Argument(help="Folder of the dataset; for synthrooms a range of its rooms, as 0:24.")],
    store: Annotated[Path, typer.Argument(help="Folder to write the prepared scenes to.")],
    size: Size = (240, 320),
    voxel_size: Annotated[float, typer.Option(help="Metres.", min=0.001)] = 0.02,
    frames: Annotated[int | None, typer.Option(help="At most so many frames a scene, evenly spread.", min=1)] = None,
    split: Annotated[
        str | None, typer.Option(help="Only the scenes of the dataset's list: train, val, test; shifted of synthrooms.")
    ] = None,
    scenes: Annotated[Path | None, typer.Option(help="Only the scenes that this file names, one a line.")] = None,
    stride: Annotated[int | None, typer.Option(help="Every so many-th frame; by default 25 of video.", min=1)] = None,
    workers: Workers = CORES,
    pairs: Annotated[
        str, typer.Option(help="What overlap means: paper (2 cm, over the total) or authors (5 cm voxels, 7.5 cm).")
    ] = "paper",
    radius: Annotated[
        float | None, typer.Option(help="Metres between corresponding points; by default the paper's 0.02.")
    ] = None,
    min_overlap: Annotated[float, typer.Option(help="Share of such points that makes a pair.")] = 0.3,
    dask: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS",
            help="Work on the Dask cluster of this scheduler, as tcp://host:8786; "
            "its workers must find ROOT and STORE under the same absolute paths.",
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Measure a few frames, say what all would take, and write nothing.")
    ] = False,
) -> None:
    """Read a dataset, mine its pairs, voxelise its surfaces, and write the store that training reads."""
    from .data.dry_run import dry_run as run_dry
    from .data.prepare import prepare as run_prepare
    from .data.sources import default_stride, open_source

    if dask is not None and Path(root).exists():
        root = str(Path(root).absolute())  # workers have another working directory
    opened = open_source(source, root, frames=frames, size=size, split=split, scenes=scenes, stride=stride)
    # not the root or the scenes: more of them, or a dataset that was moved, leave those that are there as they are
    arguments = {"source": source, "frames": frames, "stride": stride or default_stride(source)}
    settings: dict[str, Any] = {"size": size, "voxel_size": voxel_size, "arguments": arguments}
    settings |= {"pairs": pairs, "radius": radius, "min_overlap": min_overlap}
    if dry_run:
        console.print(str(run_dry(opened, store, workers=workers, **settings)), soft_wrap=True)
        return
    report = run_prepare(opened, store, workers=workers, dask=dask, **settings)
    console.print(str(report), soft_wrap=True)
    if report.failed:
        raise InputError(f"{len(report.failed)} scenes could not be prepared; mend them and run the command again")


@app.command()
def pretrain(
    overrides: Overrides = None,
    recipe: Annotated[str, typer.Option(help="Name of a recipe, or a YAML file.")] = "demo",
    keys: Keys = False,
) -> None:
    """Pre-train, or go on with a run that was stopped: the same command again."""
    from .config import load_config, recipe_text
    from .pretrain import pretrain as run_pretrain

    if keys:
        console.print(recipe_text(recipe), markup=False, highlight=False)
        return
    config = load_config(recipe, overrides or [])
    if run_pretrain(config):
        console.print(f"{config.steps} steps done, weights in {config.run}")
    else:
        console.print(f"stopped; the same command goes on from the checkpoint in {config.run}")
        raise typer.Exit(130)


@app.command()
def probe(
    names: Annotated[list[str], typer.Argument(help="Runs, weight folders, names of the zoo or of timm.")],
    store: Annotated[Path, typer.Argument(help="A prepared store.")],
    protocol: Annotated[str, typer.Option(help="probe3d, covisible, or both, separated by a comma.")] = "",
    stages: Annotated[str, typer.Option(help='Only these maps, by commas: "decoder", "stride 4" to "stride 32".')] = "",
    scenes: Annotated[str, typer.Option(help="Only these scenes, separated by commas.")] = "",
    pairs: Annotated[int, typer.Option(help="Pairs to probe.", min=1)] = 100,
    min_overlap: Annotated[float, typer.Option(help="Only pairs that share so much; 0.6 are near views.")] = 0.0,
    size: Annotated[
        tuple[int, int] | None, typer.Option(metavar="H W", help="Of the images (default: as prepared).")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the choice of pairs and pixels.")] = 0,
    radius: Annotated[
        float | None,
        typer.Option(
            help="Metres between points that match; default: loss.radius of the runs named, else 0.02.", min=0.001
        ),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Also write the figures to this JSON file.")] = None,
) -> None:
    """Do the features of a point agree between two views of it? No labels are needed.

    Shares of matches within 5, 10 and 20 pixels of the truth: of the most distinct matches in all of an image, by
    Probe3D's protocol, in pixels of a 160 wide grid and by the rotation between the views, and of pixels that both
    views see, in pixels of a 320 wide image. Random weights and shuffled features stand beside.
    """
    from .evaluate.probe import Protocol, probe_names, write_results
    from .evaluate.probe_tables import covisible_table, probe3d_table

    wanted = _listed(protocol) or list(Protocol)
    if unknown := set(wanted) - set(Protocol):
        raise InputError(f"--protocol {', '.join(sorted(unknown))}: there are {', '.join(Protocol)}")
    results = probe_names(
        names,
        store,
        protocols=[Protocol(name) for name in wanted],
        stages=_listed(stages),
        scenes=_listed(scenes),
        pairs=pairs,
        min_overlap=min_overlap,
        size=size,
        seed=seed,
        radius=radius,
    )
    if Protocol.probe3d in wanted:
        console.print(probe3d_table(results))
    if Protocol.covisible in wanted:
        console.print(covisible_table(results))
    if out is not None:
        write_results(results, out)


@app.command()
def linear(
    names: Annotated[list[str], typer.Argument(help="Runs, weight folders, names of the zoo or of timm.")],
    folder: Annotated[Path, typer.Argument(help="A labelled dataset, or, for depth, a prepared store.")],
    dataset: Annotated[str, typer.Option(help="nyuv2, scannet, kitti, cityscapes, store; or depth.")] = "nyuv2",
    classes: Annotated[str | None, typer.Option(help="nyu13 (the default), nyu40, scannet20 or cityscapes19.")] = None,
    scenes: Annotated[
        str, typer.Option(help="Of depth: the scenes to measure on; the maps are fitted to the others.")
    ] = "",
    frames: Annotated[
        int | None, typer.Option(help="Of depth: at most so many frames of each scene (default: 100).", min=1)
    ] = None,
    stages: Annotated[str, typer.Option(help='Only these maps, by commas: "decoder", "stride 4" to "stride 32".')] = "",
    size: Annotated[
        tuple[int, int] | None,
        typer.Option(metavar="H W", help="Of the images (default: 240 320); for depth they are as prepared."),
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the random weights beside.")] = 0,
) -> None:
    """What a linear map of frozen features tells of classes, or of depth: fitted by least squares, no training."""
    from .evaluate.linear_tables import linear_depth, linear_segmentation

    common: dict[str, Any] = {"stages": _listed(stages), "seed": seed}
    if dataset == "depth":
        _refuse("--dataset depth", classes=classes, size=size)
        table = linear_depth(names, folder, scenes=_listed(scenes), frames=frames or 100, **common)
    else:
        _refuse(f"--dataset {dataset}", scenes=scenes, frames=frames)
        kind, size = classes or "nyu13", size or (240, 320)
        table = linear_segmentation(names, folder, dataset=dataset, classes=kind, size=size, **common)
    console.print(table)


@app.command()
def semseg(
    overrides: Overrides = None,
    recipe: Annotated[str, typer.Option(help="Name of a recipe, or a YAML file.")] = "semseg_nyuv2",
    keys: Keys = False,
) -> None:
    """Fine-tune for semantic segmentation and measure it, or go on with a run that was stopped."""
    from .config import load_config, recipe_text
    from .evaluate.segmentation import segment
    from .evaluate.segmentation_config import SegmentationConfig

    if keys:
        console.print(recipe_text(recipe, SegmentationConfig), markup=False, highlight=False)
        return
    config = load_config(recipe, overrides or [], SegmentationConfig)
    found = segment(config)
    if found is None:
        console.print(f"stopped; the same command goes on from the checkpoint in {config.run}")
        raise typer.Exit(130)
    console.print(f"mIoU {found.miou:.4f}, pixel accuracy {found.pixel_accuracy:.4f}; all figures in {config.run}")


@app.command()
def detect(
    overrides: Overrides = None,
    recipe: Annotated[str, typer.Option(help="Name of a recipe, or a YAML file.")] = "detect_coco_mini",
    keys: Keys = False,
) -> None:
    """Fine-tune Mask R-CNN on images in COCO's form and measure it, or go on with a run that was stopped."""
    from .config import load_config, recipe_text
    from .evaluate.detection import detect as run_detect
    from .evaluate.detection_config import DetectionConfig

    if keys:
        console.print(recipe_text(recipe, DetectionConfig), markup=False, highlight=False)
        return
    config = load_config(recipe, overrides or [], DetectionConfig)
    found = run_detect(config)
    if found is None:
        console.print(f"stopped; the same command goes on from the checkpoint in {config.run}")
        raise typer.Exit(130)
    console.print(f"AP50 of boxes {found.box_ap50:.4f}, of masks {found.mask_ap50:.4f}; all figures in {config.run}")


@app.command()
def coco(
    dataset: Annotated[str, typer.Argument(help="scannet, nyuv2 or store.")],
    root: Annotated[Path, typer.Argument(help="Folder of the dataset.")],
    out: Annotated[Path, typer.Argument(help="Folder to write to.")],
    split: Annotated[str, typer.Option(help="train, val, or both, separated by a comma.")] = "train,val",
    min_pixels: Annotated[int, typer.Option(help="Objects with fewer are left out.", min=1)] = 1000,
    workers: Workers = CORES,
) -> None:
    """Write the objects of labelled images in COCO's form, for `detect` and for detectron2."""
    from .evaluate.coco_convert import convert_to_coco

    for part in _listed(split):
        written = convert_to_coco(dataset, root, out, part, min_pixels=min_pixels, workers=workers)
        console.print(str(written), soft_wrap=True)


@app.command()
def bench(
    overrides: Overrides = None,
    recipe: Annotated[str, typer.Option(help="Name of a recipe, or a YAML file.")] = "synthrooms_joint_resnet50",
    device: Annotated[str, typer.Option(help="cpu, cuda, cuda:1; by default a GPU if there is one.")] = "",
    voxels: Annotated[int, typer.Option(help="Of each chunk.", min=1)] = 40_000,
    repeats: Annotated[int, typer.Option(help="Of each measurement; the median counts.", min=1)] = 10,
    store: Annotated[Path | None, typer.Option(help="Also measure the loader, on this store.")] = None,
) -> None:
    """What a step of pre-training costs here, part by part, and how long the authors' schedule would take."""
    import torch

    from .bench import bench as run_bench
    from .bench import describe
    from .config import load_config

    default = "cuda" if torch.cuda.is_available() else "cpu"
    config = load_config(recipe, ["run=bench", f"data.store={store or 'none'}", "init=scratch", *(overrides or [])])
    costs = run_bench(config, device=torch.device(device or default), voxels=voxels, repeats=repeats, store=store)
    table = Table("part", "cost", title=f"{recipe} on {costs.device}, {voxels} voxels a chunk")
    for name, value in describe(costs):
        table.add_row(name, value)
    console.print(table)


@app.command()
def export(
    run: Annotated[Path, typer.Argument(help="Folder of a pre-training run.")],
    out: Annotated[Path, typer.Argument(help="Weight folder to write.")],
    dense: Annotated[bool, typer.Option("--dense", help="The whole ResUNet rather than the encoder alone.")] = False,
    tag: Annotated[
        str | None, typer.Option(help="What follows the dot in the name of the weights (default: in that of OUT).")
    ] = None,
    licence: Annotated[
        str | None, typer.Option(help="Of the weights, such as apache-2.0; publishing asks for it.")
    ] = None,
    half: Annotated[bool, typer.Option("--half", help="Half the bytes: convolutions in float16.")] = False,
) -> None:
    """Write the weights of a run as a weight folder of the zoo."""
    from .config import read_config
    from .export import export as run_export
    from .export import loading_code
    from .run_folder import CONFIG

    name = run_export(run, out, dense=dense, tag=tag, licence=licence, half=half)
    console.print(f"{out}: {loading_code(read_config(run / CONFIG), name, str(out), dense=dense)}", soft_wrap=True)


@app.command()
def publish(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Weight folder.")],
    repository: Annotated[str, typer.Argument(metavar="REPO", help="OWNER/MODEL or OWNER/MODEL.TAG on the Hub.")],
    push: Annotated[bool, typer.Option("--push", help="Publish it, rather than show what would be published.")] = False,
    private: Annotated[bool, typer.Option("--private", help="If the repository has to be created.")] = False,
) -> None:
    """Check a weight folder and publish it on the Hub; without --push nothing is sent. Prints the row for the table."""
    from pri3d_zoo.publish import publish as run_publish

    publication = run_publish(folder, repository, dry_run=not push, private=private)
    console.print(str(publication), soft_wrap=True, markup=False, highlight=False)


@app.command()
def report(
    run: Annotated[Path, typer.Argument(help="Folder of a pre-training run, or the results.jsonl of a study.")],
    store: Annotated[Path | None, typer.Option(help="Show and probe pairs of this store (default: the run's).")] = None,
    scenes: Annotated[str, typer.Option(help="Only these scenes, separated by commas.")] = "",
    figure: Annotated[str | None, typer.Option(help="Of a study: which figure (default: miou).")] = None,
) -> None:
    """Of a run one HTML file: losses, matches before and after, features, a chunk, the probe. Of a study its table."""
    if run.is_file():
        from .evaluate.results import read_results, study_table

        _refuse("the table of a study", store=store, scenes=scenes)
        console.print(study_table(read_results(run), figure or "miou"))
        return
    _refuse("the report of a run", figure=figure)
    from .report import report as run_report

    path = run_report(run, store, scenes=_listed(scenes))
    console.print(f"open {path}", soft_wrap=True)


def _refuse(what: str, **options: Any) -> None:
    """Raise InputError for an option that was given, and would do nothing."""
    for name, value in options.items():
        if value:
            raise InputError(f"{name}={value} does not go with {what}; leave it out")


def _listed(text: str) -> list[str]:
    """What stands between the commas."""
    return [part.strip() for part in text.split(",") if part.strip()]


def main() -> None:
    """Entry point: what a user can mend is one sentence on stderr, without a traceback."""
    errors = Console(stderr=True, width=console.width)
    logging.basicConfig(format="%(message)s", handlers=[RichHandler(console=errors, show_path=False)])
    logging.getLogger("pri3d_zoo").setLevel(logging.INFO)
    try:
        app()
    except (InputError, WeightsError) as error:
        errors.print(f"pri3d-train: {error}", style="red", soft_wrap=True, markup=False, highlight=False)
        sys.exit(1)
