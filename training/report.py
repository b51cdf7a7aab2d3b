"""The report of a run: one HTML file that needs nothing else, with pictures that show whether it worked.

What can be explored by pointing at it stands in the same file, so that a report can be sent as it is; the zoo's page
keeps itself small enough for that.
"""

import base64
import html
import io
from collections.abc import Sequence
from pathlib import Path
from typing import cast

import matplotlib
import numpy as np
import torch
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from pri3d_zoo import page
from pri3d_zoo.files import write_whole

from .config import ChunkBox, Config, Method, flat_keys
from .data.augment import normalize
from .data.batch import PairBatch, collate
from .data.dataset import PairDataset
from .data.store import SceneStore
from .errors import InputError
from .evaluate.backbones import computing_device
from .evaluate.probe import THRESHOLDS, Recall, best_matches, choose_pairs, matching_errors, matching_recall
from .initialise import initial_model
from .matches import view_matches
from .metrics import METRICS, read_metrics
from .networks.two_branch import TwoBranch
from .pretrain import CHUNK_BOXES
from .run_folder import run_environment, trained_model
from .tasks import voxel_input

REPORT = "report.html"
PAIRS = 60  # at most, of the probe's table
DRAWN = 40  # matches in the picture of a pair
GOOD = 10  # pixels at a width of 320: what counts as right in the picture
BOXES = {  # what the chunk of a view is
    ChunkBox.frustum: "inside the frustum box of the left view",
    ChunkBox.pixels: "inside the box of the left view's back-projected pixels, rounded outward to whole metres",
}


def report(run: Path, store: Path | None = None, *, scenes: Sequence[str] = ()) -> Path:
    """Write ``report.html`` into the folder of a run, whole or not at all.

    Args:
        run: Folder of a pre-training run.
        store: Where the pairs that are shown and probed come from; the run's own store if None.
        scenes: Of that store, all if empty.

    Returns:
        Path of the report.
    """
    matplotlib.use("agg")
    config, trained = trained_model(run)
    initial = cast(TwoBranch, initial_model(config).eval())  # as the trained one is
    for model in (initial, trained):
        model.to(computing_device())
    if not (run / METRICS).is_file():
        raise InputError(f"{run} has no {METRICS}: give the folder of a pre-training run")
    scene_store = SceneStore(store or Path(config.data.store))
    has_3d = config.loss.method != Method.view
    dataset = PairDataset(
        scene_store,
        (config.size[0], config.size[1]),
        chunks=False,
        box=CHUNK_BOXES[config.data.chunk_box],
        only=scenes,
        min_overlap=config.data.min_overlap,
    )
    chosen = choose_pairs(dataset, PAIRS, seed=0)
    probed = collate([dataset[index] for index in chosen])
    before, after = (matching_errors(model.backbone, probed, config.loss.radius) for model in (initial, trained))
    recalls = {
        "before training": matching_recall(before, config.loss.radius),
        f"after {config.steps} steps": matching_recall(after, config.loss.radius),
    }
    shares = torch.stack([(error <= GOOD).float().mean() for error in after])
    dataset.chunks = has_3d  # of the one pair alone
    shown = dataset[chosen[int(shares.nan_to_num(-1).median(dim=0).indices)]]
    has_voxels = len(_chunk(shown)[0]) > 0
    figures: list[tuple[str, str, Figure | None]] = [
        ("Losses", "By step; dashed: chance, what features that tell nothing apart get.", _loss_figure(run, config)),
        (
            "Matches",
            f"The best match of {DRAWN} pixels of the left view among all of the right one, before training and after. "
            f"The pair does neither well nor badly: its share of right matches is the median of all probed. Green "
            f"lines end within {GOOD} px (at a width of 320) of the true match.",
            _match_figure(shown, initial, trained, config.loss.radius),
        ),
        (
            "Features as colours",
            "The first three principal components of the features of both views: the same place should have the same "
            "colour in both.",
            _feature_figure(shown, initial, trained),
        ),
    ]
    if has_3d:
        place = f"The voxels of the surface {BOXES[config.data.chunk_box]}"
        told = f"{place}, with their own colours and coloured by the features of the 3D network."
        missing = f"{place} would be shown here, but there are none."
        figures.append(
            ("A chunk in 3D", told if has_voxels else missing, _chunk_figure(shown, trained) if has_voxels else None)
        )
    where = f"{scene_store.root.name} ({', '.join(scenes) or 'all scenes'})"
    explorer = _explorer(shown, initial, trained, with_voxels=has_voxels)
    write_whole(run / REPORT, _page(run_environment(run), config, figures, recalls, where, explorer))
    return run / REPORT


def _loss_figure(run: Path, config: Config) -> Figure:
    rows = read_metrics(run)
    figure, axes = plt.subplots(figsize=(8, 3))
    for name in ("view", "geo"):
        if rows and name in rows[0]:
            axes.plot([row["step"] for row in rows], [row[name] for row in rows], label=f"{name} loss")
    axes.axhline(np.log(config.loss.matches), linestyle="--", color="grey", linewidth=1)
    axes.set(xlabel="step", ylabel="PointInfoNCE", ylim=(0, None))
    axes.legend()
    return figure


@torch.no_grad()
def _dense_features(model: TwoBranch, batch: PairBatch) -> Tensor:
    return model.backbone(normalize(batch.color[0].to(computing_device()))).cpu()


def _match_figure(batch: PairBatch, initial: TwoBranch, trained: TwoBranch, radius: float) -> Figure:
    height, width = batch.color.shape[-2:]
    torch.manual_seed(0)
    first, second, valid = view_matches(batch.depth, batch.intrinsics, batch.camera_to_world, DRAWN, radius)
    first, second = first[valid][None], second[valid][None]
    true = torch.stack((second[0] % width, second[0] // width), -1)
    start = torch.stack((first[0] % width, first[0] // width), -1).numpy()
    figure, rows = plt.subplots(2, 1, figsize=(8, 6.4))
    for axes, (name, model) in zip(rows, {"before": initial, "after": trained}.items(), strict=True):
        best = best_matches(_dense_features(model, batch), first, (height, width))
        right = ((best - true).norm(dim=1) * 320 / width <= GOOD).numpy()
        axes.imshow(_side_by_side(batch))
        for (u1, v1), (u2, v2), good in zip(start, best.numpy(), right, strict=True):
            axes.plot([u1, u2 + width], [v1, v2], color="#2ca02c" if good else "#d62728", linewidth=0.9, alpha=0.8)
        axes.set_title(f"{name}: {right.sum()} of {len(right)} right", fontsize=10)
        axes.axis("off")
    return figure


def _feature_figure(batch: PairBatch, initial: TwoBranch, trained: TwoBranch) -> Figure:
    figure, rows = plt.subplots(3, 2, figsize=(8, 9))
    for column in range(2):
        rows[0, column].imshow(batch.color[0, column].permute(1, 2, 0).numpy())
        rows[0, column].set_title("left view" if column == 0 else "right view", fontsize=10)
    for row, (name, model) in enumerate({"before": initial, "after": trained}.items(), start=1):
        features = _dense_features(model, batch)
        colors = principal_colors(features.permute(0, 2, 3, 1).flatten(0, 2))
        maps = colors.view(2, features.shape[2], features.shape[3], 3).numpy()
        for column in range(2):
            rows[row, column].imshow(maps[column])
            rows[row, column].set_title(name, fontsize=10)
    for axes in rows.flat:
        axes.axis("off")
    return figure


@torch.no_grad()
def _chunk_figure(batch: PairBatch, model: TwoBranch) -> Figure:
    voxels, colors = _chunk(batch)
    panels = {"colours": colors / 255, "features of the 3D network": _voxel_colors(model, voxels, colors)}
    figure = plt.figure(figsize=(4.2 * len(panels), 4))
    x, y, z = voxels[:, 1:].float().numpy().T
    for number, (name, color) in enumerate(panels.items(), start=1):
        axes = figure.add_subplot(1, len(panels), number, projection="3d")
        axes.scatter(x, y, z, c=color.numpy(), s=6, marker="s", linewidths=0, depthshade=False)
        axes.set_box_aspect(np.ptp(np.stack((x, y, z)), axis=1) + 1)
        axes.set_title(f"{len(voxels)} voxels: {name}", fontsize=10)
        axes.set_axis_off()
    return figure


@torch.no_grad()
def _explorer(batch: PairBatch, initial: TwoBranch, trained: TwoBranch, *, with_voxels: bool) -> str:
    """The pair and the left view's chunk to point at and to turn, with the weights before and after the training."""
    height, width = batch.color.shape[-2:]
    pictures = [Image.fromarray(view.permute(1, 2, 0).numpy()) for view in batch.color[0]]
    left, right = (
        page.View(f"{name} view", picture, (width, height))
        for name, picture in zip(("left", "right"), pictures, strict=True)
    )
    voxels, colors = _chunk(batch)
    chunk = None
    if with_voxels:
        positions = voxels[:, 1:].float() @ _upright(batch.camera_to_world[0, 0]).T
        chunk = page.Voxels(positions, 1.0, colors)
    weights = []
    for name, model in {"before training": initial, "after training": trained}.items():
        first, second = _dense_features(model, batch)
        by_feature = (255 * _voxel_colors(model, voxels, colors)).round().byte() if with_voxels else None
        weights.append(page.Features(name, (first, second), by_feature))
    return page.explorer((left, right), weights, chunk)


def _chunk(batch: PairBatch) -> tuple[Tensor, Tensor]:
    """Of the left view, voxels (N, 4) and their colours (N, 3) uint8."""
    keep = batch.voxels[:, 0] == 0
    return batch.voxels[keep], batch.voxel_colors[keep]


def _voxel_colors(model: TwoBranch, voxels: Tensor, colors: Tensor) -> Tensor:
    device = computing_device()
    return principal_colors(model.backbone3d(voxel_input(voxels.to(device), colors.to(device))).features.cpu())


def _upright(camera_to_world: Tensor) -> Tensor:
    """Rotation (3, 3) from the world to what looks where a camera (4, 4) does, but level: x right, y down, z ahead.

    Down is the axis of the world that comes nearest to the camera's own: datasets differ in which one that is.
    """
    camera_down, camera_ahead = camera_to_world[:3, 1], camera_to_world[:3, 2]
    axis = camera_down.abs().argmax()
    down = torch.zeros(3)
    down[axis] = camera_down[axis].sign()
    right = nn.functional.normalize(torch.linalg.cross(down, camera_ahead), dim=0)
    return torch.stack((right, down, torch.linalg.cross(right, down)))


def principal_colors(features: Tensor) -> Tensor:
    """(N, C) l2-normalised and projected on their first three principal components, each stretched to [0, 1]."""
    unit = nn.functional.normalize(features.float(), dim=1)
    centered = unit - unit.mean(0)
    _, vectors = torch.linalg.eigh(centered.T @ centered)
    projected = centered @ vectors[:, -3:].flip(1)
    low, high = projected.quantile(0.02, dim=0), projected.quantile(0.98, dim=0)
    return ((projected - low) / (high - low).clamp(min=1e-6)).clamp(0, 1)


def _side_by_side(batch: PairBatch) -> NDArray[np.uint8]:
    return batch.color[0].permute(2, 0, 3, 1).flatten(1, 2).numpy()


def _embed(figure: Figure) -> str:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110, bbox_inches="tight")
    plt.close(figure)
    return base64.b64encode(buffer.getvalue()).decode()


def _page(
    environment: dict[str, str],
    config: Config,
    figures: list[tuple[str, str, Figure | None]],
    recalls: dict[str, Recall],
    where: str,
    explorer: str,
) -> str:
    command = environment.pop("command")
    title = f"{config.model.encoder}, {config.loss.method}, {config.steps} steps"
    probe_rows = "".join(
        f"<tr><td>{html.escape(name)}</td>{''.join(f'<td>{r.at[t]:.3f}</td>' for t in THRESHOLDS)}"
        f"<td>{r.pairs}</td><td>{r.queries}</td></tr>"
        for name, r in recalls.items()
    )
    sections = "".join(
        f"<h2>{html.escape(name)}</h2><p>{html.escape(text)}</p>"
        + (f'<img alt="{html.escape(name)}" src="data:image/png;base64,{_embed(figure)}">' if figure else "")
        for name, text, figure in figures
    )
    settings = _table({key: str(value) for key, value in flat_keys(config).items()})
    head = "".join(f"<th>recall@{t} px</th>" for t in THRESHOLDS)
    body = f"""<p>Made by</p><pre>{html.escape(command)}</pre>
<h2>Probe</h2>
<p>How often the nearest neighbour of a pixel's feature, among all of the other view, lies within so many pixels (of an
image 320 wide) of its true match, whose point lies within {config.loss.radius:g} m. Pairs of {html.escape(where)}.</p>
<div class="scroll"><table><tr><th>weights</th>{head}<th>pairs</th><th>queries</th></tr>{probe_rows}</table></div>
{explorer}
{sections}
<h2>Configuration</h2>{settings}
<h2>Environment</h2>{_table(environment)}
"""
    return page.document(title, body)


def _table(rows: dict[str, str]) -> str:
    cells = "".join(
        f"<tr><td><code>{html.escape(key)}</code></td><td>{html.escape(value)}</td></tr>" for key, value in rows.items()
    )
    return f'<div class="scroll"><table>{cells}</table></div>'
