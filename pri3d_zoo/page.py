"""A page to explore features with: point at a place in one view, and see where it is found in the other.

One HTML file that needs nothing else, neither a server nor a network: its Content-Security-Policy forbids every
connection. The program and the style that it carries are `page.js` and `page.css`, beside this module.
"""

import base64
import hashlib
import html
import io
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

CODE_BYTES = 3_600_000
"""Of the features of a page, all maps together; a third more in base64. It leaves a report of 8 MB room for figures."""
DIMENSIONS = 64  # at most, of a feature
VOXELS = 50_000  # at most; of more, so many drawn at random
_SAMPLED = 256  # features whose cosines with all others tell how exact the page is


@dataclass(frozen=True)
class View:
    """One of the two images.

    Args:
        name: What is written below it.
        image: As it is shown.
        size: (width, height) of the original, in whose pixels places are told.
    """

    name: str
    image: Image.Image
    size: tuple[int, int]


@dataclass(frozen=True)
class Voxels:
    """The surface that the views look at.

    Args:
        positions: (N, 3) centres, float, in any unit: x right, y down, z ahead for who looks at them first.
        edge: Length of a voxel's edge, in that unit.
        colors: (N, 3) uint8, its own.
    """

    positions: Tensor
    edge: float
    colors: Tensor


@dataclass(frozen=True)
class Features:
    """What one set of weights makes of both views, and of the voxels if there are any.

    Args:
        name: Of the weights.
        maps: (C, h, w) each, not normalised; cells cover their image evenly.
        voxel_colors: (N, 3) uint8 by feature, for a page with voxels.
    """

    name: str
    maps: tuple[Tensor, Tensor]
    voxel_colors: Tensor | None = None


@dataclass(frozen=True)
class Codes:
    """Features in a few bytes; times the scales and plus the offsets they have the cosines of the features.

    Args:
        codes: Of each map, (h, w, D) int8.
        scales: (D,) float32, what one step of a code is worth.
        offsets: (D,) float32, what a code of zero stands for. Many features are all alike but for a little.
        kept: Share of the squared length of l2-normalised features, of all maps, that the D components keep.
        error: The largest error of a cosine, among those of a sample of features with all.
    """

    codes: tuple[Tensor, ...]
    scales: Tensor
    offsets: Tensor
    kept: float
    error: float


def encode(maps: Sequence[Tensor], most: int) -> Codes:
    """Maps (C, h, w), of any sizes, reduced to at most `most` components and eight bits.

    The features are l2-normalised and projected on the principal components of all maps together, without taking off
    their mean: of all projections on so many dimensions the one that changes their products least.
    """
    unit = torch.cat([functional.normalize(x.float().flatten(1), dim=0).T for x in maps])
    values, vectors = torch.linalg.eigh(unit.double().T @ unit.double())
    projected = unit @ vectors[:, -most:].flip(1).float()
    low, high = projected.amin(0), projected.amax(0)
    offsets, scales = (low + high) / 2, (high - low).clamp(min=1e-9) / 254
    codes = ((projected - offsets) / scales).round().to(torch.int8)
    sample = torch.linspace(0, len(unit) - 1, _SAMPLED).long()
    restored = functional.normalize(codes * scales + offsets, dim=1)
    error = (unit[sample] @ unit.T - restored[sample] @ restored.T).abs().max()
    parts = codes.split([x[0].numel() for x in maps])
    shaped = tuple(part.view(*x.shape[1:], -1) for part, x in zip(parts, maps, strict=True))
    return Codes(shaped, scales, offsets, (values[-most:].sum() / values.sum()).item(), error.item())


def explorer(
    views: tuple[View, View],
    weights: Sequence[Features],
    voxels: Voxels | None = None,
    pixel: tuple[int, int] | None = None,
) -> str:
    """The part of a page's body that shows matches and voxels; one to a page.

    Args:
        views: Both images.
        weights: One or two, beside each other.
        voxels: Shown in 3D, if given.
        pixel: (u, v) of the first view, where it begins; its centre if None.

    Raises:
        ValueError: Colours by feature are missing, or are not one for each voxel.
    """
    cells = sum(x[0].numel() for column in weights for x in column.maps)
    most = max(1, min(DIMENSIONS, CODE_BYTES // cells))
    width, height = views[0].size
    u, v = pixel or (width // 2, height // 2)
    shown = _choose(len(voxels.positions)) if voxels else torch.empty(0)
    data = {
        "views": [
            {"name": view.name, "width": view.size[0], "height": view.size[1], "image": _jpeg(view.image)}
            for view in views
        ],
        "weights": [_weights_data(column, most, voxels, shown) for column in weights],
        "voxels": _voxels_data(voxels, shown) if voxels else None,
        "start": {"side": 0, "u": u, "v": v},
    }
    content = json.dumps(data).replace("<", "\\u003c")  # nothing in it may end the element
    hint = (
        "Point at a place in one view, touch it, or go to a view with the Tab key and use the arrow keys: the other "
        "shows how alike each of its places is, exp((cosine − best cosine) / temperature), and rings the best."
    )
    if voxels:
        count = f"{len(shown):,}" + (f" of {len(voxels.positions):,}" if len(shown) < len(voxels.positions) else "")
        hint += f" Below, {count} voxels are coloured by feature: drag them, or use the arrow keys, to turn them."
    return (
        f"<h2>Point at a match</h2>\n<p>{hint}</p>\n"
        '<div id="explorer"><p>This part of the page needs JavaScript.</p></div>\n'
        f'<script id="explorer-data" type="application/json">{content}</script>\n'
    )


def document(title: str, body: str) -> str:
    """A whole page, in which what `explorer` gives comes to life.

    Args:
        title: Plain text, also the heading.
        body: HTML below the heading, with what `explorer` gives in it, and with no image, style or program from
            elsewhere.
    """
    style, program = _source("page.css"), _source("page.js")
    policy = (
        f"default-src 'none'; img-src data:; style-src {_digest(style)}; script-src {_digest(program)}; "
        "base-uri 'none'; form-action 'none'"
    )
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{html.escape(title)}</title><style>{style}</style></head><body>
<h1>{html.escape(title)}</h1>
{body}
<script>{program}</script>
</body></html>
"""


def _weights_data(weights: Features, most: int, voxels: Voxels | None, shown: Tensor) -> dict[str, Any]:
    encoded = encode(weights.maps, most)
    exact = math.ceil(1e4 * encoded.error) / 1e4
    channels, dimensions = len(weights.maps[0]), len(encoded.scales)
    parts = f"all {channels} dimensions of the features"
    if dimensions < channels:
        parts = f"{dimensions} of {channels} dimensions, which keep {encoded.kept:.1%} of the features' squared length"
    data = {
        "name": weights.name,
        "note": f"Cosines here are exact to {exact:.4f}: {parts}, in 8 bits each.",
        "scales": encoded.scales.tolist(),
        "offsets": encoded.offsets.tolist(),
        "maps": [{"rows": x.shape[0], "columns": x.shape[1], "codes": _base64(x)} for x in encoded.codes],
    }
    if voxels:
        colors = weights.voxel_colors
        if colors is None or len(colors) != len(voxels.positions):
            count = "no" if colors is None else len(colors)
            raise ValueError(f"{weights.name} gives {count} colours to {len(voxels.positions)} voxels")
        data["colors"] = _base64(colors[shown])
    return data


def _voxels_data(voxels: Voxels, shown: Tensor) -> dict[str, Any]:
    """Positions in the ball around their middle, as 32767ths of its radius."""
    positions = voxels.positions.double()
    centered = positions - (positions.amin(0) + positions.amax(0)) / 2
    radius = centered.norm(dim=1).max().item() + voxels.edge
    edge = voxels.edge * math.sqrt(len(positions) / len(shown))  # larger for those that are left out
    return {
        "positions": _base64((centered[shown] / radius * 32767).round().to(torch.int16)),
        "edge": edge / radius,
        "colors": _base64(voxels.colors[shown]),
    }


def _choose(count: int) -> Tensor:
    order = torch.randperm(count, generator=torch.Generator().manual_seed(0))
    return order[:VOXELS].sort().values


def _base64(values: Tensor) -> str:
    return base64.b64encode(values.contiguous().numpy().tobytes()).decode()


def _jpeg(image: Image.Image) -> str:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=88)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def _digest(text: str) -> str:
    """What a Content-Security-Policy allows an element of this text by."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


@cache
def _source(name: str) -> str:
    return files(__package__).joinpath(name).read_text(encoding="utf-8")
