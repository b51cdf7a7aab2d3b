"""What a model sees: its features as colours, and where a pixel of one image is found in another; picture and page."""

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from PIL import Image, ImageDraw, ImageOps
from timm.data import resolve_model_data_config
from torch import Tensor, nn
from torch.nn import functional
from torchvision.transforms.functional import pil_to_tensor, to_pil_image

from . import page
from .files import whole_file
from .resunet import ResUNet

ENCODER_STRIDE = 8
"""Encoders are shown by their last stage that is at least so fine. Of a ResNet-18 trained on a kitchen, the best match
lies within 20 pixels of the true one for 23, 51, 58, 46 and 24 % of pixels, with the stages at strides 2 to 32."""
FORMATS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG"}
PAGES = (".html", ".htm")
READ = ("JPEG", "PNG", "WEBP", "BMP", "TIFF")
"""The formats of images that are read; of the others that Pillow knows, some start other programs."""

_SHOWN = 320  # pixels of the shorter side of an image in a picture,
_SHOWN_IN_PAGE = 480  # and in a page, where it is shown larger
_GAP = 4  # pixels between the parts of a picture


class ImageError(ValueError):
    """An image that cannot be read or written, or a pixel outside it. One sentence that names the file."""


@dataclass(frozen=True)
class Match:
    """Where a pixel of the first image is found in the second; pixels are (u, v) of the original images."""

    pixel: tuple[int, int]
    best: tuple[int, int]
    similarity: float
    """Cosine of the features of both."""


@dataclass(frozen=True)
class Picture:
    """A picture that was drawn, in a sentence by `str`."""

    path: Path
    grids: tuple[tuple[int, int, int], ...]
    """Of every image, channels, rows and columns of its feature map."""
    match: Match | None

    def __str__(self) -> str:
        sizes = dict.fromkeys(f"{rows}x{columns} cells of {channels}" for channels, rows, columns in self.grids)
        count = f"{len(self.grids)} image{'s' if len(self.grids) > 1 else ''}"
        text = f"{self.path}: features of {count}, {', '.join(sizes)} channels"
        if self.match is None:
            return text
        return (
            f"{text}; the best match of pixel {self.match.pixel} of the first is {self.match.best} of the second, "
            f"cosine {self.match.similarity:.3f}"
        )


def feature_map(model: nn.Module, image: Tensor) -> Tensor:
    """Features (B, C, h, w), not normalised, of images (B, 3, H, W), normalised as the model wants them.

    Of a dense model its dense features, before any head. Of another model of timm's the last stage at a stride of at
    most `ENCODER_STRIDE`; of one that has none so fine, its finest.

    Raises:
        ValueError: the model is neither.
    """
    if isinstance(model, ResUNet):
        return model.forward_features(image)
    stage, _ = _stage(model)
    features: Tensor = model.forward_intermediates(image, indices=[stage], intermediates_only=True)[0]  # type: ignore[operator]
    return features


def _stage(model: nn.Module) -> tuple[int, int]:
    """Index and stride of the stage that `feature_map` takes of a model of timm's."""
    strides = [info["reduction"] for info in getattr(model, "feature_info", ())]
    if not strides or not hasattr(model, "forward_intermediates"):
        raise ValueError(
            f"{type(model).__name__} is neither a dense model nor one of timm's with stages; "
            "give a model of create_model without features_only"
        )
    stride = max((stride for stride in strides if stride <= ENCODER_STRIDE), default=min(strides))
    return len(strides) - 1 - strides[::-1].index(stride), stride


def _multiple(model: nn.Module) -> int:
    """Of which the sides of images are to be, so that every cell of their maps covers as many pixels of them.

    Those of a transformer's patches too, for where patches reach beyond an image its map does, and places are off.
    """
    stride = model.encoder_stride if isinstance(model, ResUNet) else _stage(model)[1]
    return math.lcm(ENCODER_STRIDE, stride)


def pca_colors(maps: Sequence[Tensor]) -> list[Tensor]:
    """Feature maps (C, h, w), of any sizes, as RGB images (h, w, 3) uint8.

    The features are l2-normalised and projected on the first three principal components of all maps together, so that
    a colour means the same in every image; each component is stretched between its 2 % and 98 % quantiles. Its sign
    is such that the largest weight is positive.
    """
    unit = torch.cat([functional.normalize(x.double().flatten(1), dim=0).T for x in maps])
    centered = unit - unit.mean(0)
    _, vectors = torch.linalg.eigh(centered.T @ centered)
    components = vectors[:, -3:].flip(1)
    components = components * components.gather(0, components.abs().argmax(0, keepdim=True)).sign()
    projected = centered @ components
    ordered = projected.sort(0).values
    low, high = ordered[round(0.02 * (len(ordered) - 1))], ordered[round(0.98 * (len(ordered) - 1))]
    colors = ((projected - low) / (high - low).clamp(min=1e-9)).clamp(0, 1).mul(255).round().byte()
    sizes = [x.shape[-2:] for x in maps]
    parts = colors.split([height * width for height, width in sizes])
    return [part.reshape(*size, 3) for part, size in zip(parts, sizes, strict=True)]


def match_heatmap(first: Tensor, second: Tensor, cell: tuple[float, float]) -> tuple[Tensor, tuple[int, int]]:
    """How alike every cell of the second map is to one place of the first.

    Args:
        first: (C, h, w).
        second: (C, h', w').
        cell: (u, v) in the first map, where (0, 0) is the centre of its first cell; between centres l2-normalised
            features are interpolated, as `page.js` does; beyond the outermost ones they continue.

    Returns:
        Cosine similarity (h', w'), and the cell (u, v) where it is highest.
    """
    height, width = first.shape[-2:]
    grid = first.new_tensor([[[[(2 * cell[0] + 1) / width - 1, (2 * cell[1] + 1) / height - 1]]]])
    unit = functional.normalize(first, dim=0)
    query = functional.grid_sample(unit[None], grid, padding_mode="border", align_corners=False)[0]
    heat = functional.cosine_similarity(query, second, dim=0)
    best = int(heat.argmax())
    return heat, (best % heat.shape[1], best // heat.shape[1])


@torch.no_grad()
def draw_features(
    model: nn.Module,
    images: Sequence[Path],
    out: Path,
    *,
    pixel: tuple[int, int] | None = None,
    size: int | None = None,
) -> Picture:
    """Draw images beside the colours of their features; of two images also where a pixel of the first is found.

    One row an image: the image, and `pca_colors`. Two images have a third row: the first with the pixel marked, and
    the second under the heat map of the pixel's match, with the best cell marked.

    Args:
        model: see `feature_map`; it is put in evaluation mode.
        images: files that Pillow reads.
        out: the picture, PNG or JPEG by its suffix; written whole or not at all.
        pixel: (u, v) in the first of two images; its centre if None.
        size: what the shorter side of images is brought to, in pixels; that of the model's input if None. The aspect
            ratio is kept, but for rounding to multiples of 8 and, of a transformer, of its patches.

    Raises:
        ImageError: an image is missing or broken, the pixel is not in the first of two images, or the picture cannot
            be written.
        ValueError: the model has no feature maps.
    """
    _check_out(out, images, FORMATS)
    if not images or (pixel is not None and len(images) != 2):
        wanted = f"pixel {pixel} is matched between two images" if pixel else "there must be an image to draw"
        raise ImageError(f"{wanted}, and {len(images)} are given")
    config = resolve_model_data_config(model)
    shorter = size or min(config["input_size"][1:])
    views = [_open(path, shorter, _multiple(model), config, _SHOWN) for path in images]
    pixel = _check_pixel(pixel, images[0], views[0].size) if len(images) == 2 else None
    maps = _maps(model, views)
    rows: list[list[Image.Image]] = []
    for view, color in zip(views, pca_colors(maps), strict=True):
        colored = to_pil_image(color.permute(2, 0, 1)).resize(view.shown.size, Image.Resampling.NEAREST)
        rows.append([view.shown, colored])
    match = None
    if pixel is not None:
        first, second = views
        heat, best = match_heatmap(maps[0], maps[1], _place(pixel, first.size, _grid(maps[0])))
        u, v = _place(best, _grid(maps[1]), second.size)
        match = Match(pixel, (round(u), round(v)), heat.max().item())
        query = _mark(first.shown, _place(pixel, first.size, first.shown.size))
        found = _mark(_overlay(second.shown, heat), _place(best, _grid(maps[1]), second.shown.size))
        rows.append([query, found])
    picture = _compose(rows)
    _write(lambda file: picture.save(file, FORMATS[out.suffix.lower()], quality=95), out)
    return Picture(out, tuple((x.shape[0], x.shape[1], x.shape[2]) for x in maps), match)


@torch.no_grad()
def write_page(
    models: Mapping[str, nn.Module],
    images: Sequence[Path],
    out: Path,
    *,
    pixel: tuple[int, int] | None = None,
    size: int | None = None,
) -> str:
    """Write a page in which to point at a place of one image, and see where it is in the other; see `page.explorer`.

    Args:
        models: One or two, beside each other under their names; see `feature_map`. They are put in evaluation mode.
        images: Two files that Pillow reads.
        out: The page, `.html`; written whole or not at all.
        pixel: (u, v) in the first image, where it begins; its centre if None.
        size: As for `draw_features`, for each model.

    Returns:
        What was written, in a sentence.

    Raises:
        ImageError: there are not two images, one is missing or broken, the pixel is not in the first, or the page
            cannot be written.
        ValueError: a model has no feature maps.
    """
    _check_out(out, images, PAGES)
    if len(images) != 2:
        raise ImageError(f"a page shows where a pixel of one image is in another; it takes 2 images, not {len(images)}")
    columns = []
    views: list[_View] = []
    for name, model in models.items():
        config = resolve_model_data_config(model)
        shorter = size or min(config["input_size"][1:])
        views = [_open(path, shorter, _multiple(model), config, _SHOWN_IN_PAGE) for path in images]
        first, second = _maps(model, views)
        columns.append(page.Features(name, (first, second)))
    pixel = _check_pixel(pixel, images[0], views[0].size)
    first_view, second_view = (
        page.View(path.name, view.shown, view.size) for path, view in zip(images, views, strict=True)
    )
    title = f"Where {images[0].name} is in {images[1].name}"
    text = page.document(title, page.explorer((first_view, second_view), columns, pixel=pixel))
    _write(lambda file: file.write_text(text, encoding="utf-8"), out)
    return f"{out}: {' beside '.join(models)}, {len(text) / 1e6:.1f} MB; open it in a browser"


class _View(NamedTuple):
    """An image as it is shown, as the model sees it (3, h, w), and its original (width, height)."""

    shown: Image.Image
    tensor: Tensor
    size: tuple[int, int]


def _maps(model: nn.Module, views: Sequence[_View]) -> list[Tensor]:
    """(C, h, w) of each view, on the CPU."""
    device = next(model.parameters()).device
    model.eval()
    return [feature_map(model, view.tensor[None].to(device))[0].float().cpu() for view in views]


def _check_out(out: Path, images: Sequence[Path], suffixes: Collection[str]) -> None:
    if out.suffix.lower() not in suffixes:
        kind = "page" if suffixes is PAGES else "picture"
        raise ImageError(f"{out} is no name for a {kind}: it has to end in {', '.join(suffixes)}")
    if any(out.resolve() == image.resolve() for image in images):
        raise ImageError(f"{out} is one of the images to look at and would be lost; choose another name")


def _check_pixel(pixel: tuple[int, int] | None, path: Path, size: tuple[int, int]) -> tuple[int, int]:
    width, height = size
    u, v = pixel or (width // 2, height // 2)
    if not (0 <= u < width and 0 <= v < height):
        raise ImageError(f"pixel ({u}, {v}) is outside {path}, which is {width} wide and {height} high")
    return u, v


def _open(path: Path, size: int, multiple: int, config: dict[str, Any], shown: int) -> _View:
    """The image of a file: for the model brought to one size of its shorter side, to be seen to another."""
    if not path.is_file():
        raise ImageError(f"there is no image {path}")
    try:
        with Image.open(path, formats=READ) as file:
            image = ImageOps.exif_transpose(file).convert("RGB")
    # Pillow's plugins raise all of these for files that are cut off, mangled, or too large to be true
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise ImageError(f"{path} cannot be read as an image ({f'{error}'.partition(chr(10))[0]})") from error
    mean, std = (torch.tensor(config[key]).view(3, 1, 1) for key in ("mean", "std"))
    tensor = (pil_to_tensor(_resize(image, size, multiple)) / 255 - mean) / std
    return _View(_resize(image, shown, 1), tensor, image.size)


def _resize(image: Image.Image, shorter: int, multiple: int) -> Image.Image:
    scale = shorter / min(image.size) / multiple
    width, height = (max(round(side * scale), 1) * multiple for side in image.size)
    return image.resize((width, height), Image.Resampling.BILINEAR)


def _grid(features: Tensor) -> tuple[int, int]:
    """(width, height) of a map (C, h, w)."""
    return features.shape[2], features.shape[1]


def _place(place: tuple[float, float], size: tuple[int, int], new_size: tuple[int, int]) -> tuple[float, float]:
    """The same place of an image in another resolution, sizes as (width, height); centres stay centres."""
    u, v = ((x + 0.5) * new / old - 0.5 for x, old, new in zip(place, size, new_size, strict=True))
    return u, v


def _overlay(image: Image.Image, heat: Tensor) -> Image.Image:
    """The image in dark grey under the upper half of the heat, from black over red and yellow to white."""
    low, high = heat.median(), heat.max()
    strength = ((heat - low) / (high - low).clamp(min=1e-9)).clamp(0, 1)
    glow = (3 * strength - torch.arange(3).view(3, 1, 1)).clamp(0, 1)
    layer = to_pil_image(glow.mul(255).round().byte()).resize(image.size, Image.Resampling.BILINEAR)
    return Image.blend(image.convert("L").convert("RGB"), layer, 0.65)


def _mark(image: Image.Image, place: tuple[float, float]) -> Image.Image:
    """A ring around the place, light on dark, so that it is seen on every ground."""
    marked = image.copy()
    draw = ImageDraw.Draw(marked)
    for radius, color, width in ((11, "black", 4), (10, "cyan", 2)):
        box = (place[0] - radius, place[1] - radius, place[0] + radius, place[1] + radius)
        draw.ellipse(box, outline=color, width=width)
    return marked


def _compose(rows: list[list[Image.Image]]) -> Image.Image:
    heights = [max(image.height for image in row) for row in rows]
    widths = [max(image.width for image in column) for column in zip(*rows, strict=True)]
    canvas = Image.new("RGB", (sum(widths) + _GAP, sum(heights) + _GAP * (len(rows) - 1)), "white")
    for i, row in enumerate(rows):
        for j, image in enumerate(row):
            canvas.paste(image, (sum(widths[:j]) + _GAP * j, sum(heights[:i]) + _GAP * i))
    return canvas


def _write(save: Callable[[Path], object], out: Path) -> None:
    try:
        with whole_file(out) as temporary:
            save(temporary)
    except OSError as error:
        raise ImageError(f"{out} cannot be written ({error.strerror or error})") from error
