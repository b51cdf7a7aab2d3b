"""Fine-tune an encoder in a plain PyTorch loop: which of NYUv2's forty kinds of things does a photograph show?

    python examples/finetune_timm.py NYUV2 --weights resnet18_pri3d_joint

NYUV2 is a folder with `image/ID.jpg`, `label40/ID.png` (0 = void, 1 to 40), `train.txt` and `test.txt`. With images of
your own, put another dataset in the place of `Rooms`; the rest stays as it is.
"""

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

import pri3d_zoo

KINDS = 40
DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
LEAST_SHARE = 0.01  # of the image; a thing that covers less does not count as shown


class Rooms(Dataset[tuple[Tensor, Tensor]]):
    """Photographs, and which kinds of things they show, as zeros and ones."""

    def __init__(self, folder: Path, ids: list[str], transform: Callable[[Image.Image], Tensor]) -> None:
        self.folder, self.ids, self.transform = folder, ids, transform

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        image = Image.open(self.folder / "image" / f"{self.ids[index]}.jpg").convert("RGB")
        labels = np.array(Image.open(self.folder / "label40" / f"{self.ids[index]}.png"))
        shares = np.bincount(labels.ravel(), minlength=KINDS + 1)[1:] / labels.size
        return self.transform(image), torch.from_numpy(shares >= LEAST_SHARE).float()


def create_model(weights: str, scratch: bool) -> nn.Module:
    """The encoder with a new linear head: of a name of the zoo, or of a weight folder MODEL.TAG."""
    folder = weights if Path(weights).is_dir() else None
    name = Path(weights).name.partition(".")[0] if folder else weights
    checkpoint = None if scratch else folder
    return pri3d_zoo.create_model(name, not scratch, checkpoint_path=checkpoint, num_classes=KINDS)


@torch.no_grad()
def mean_average_precision(model: nn.Module, loader: DataLoader[tuple[Tensor, Tensor]]) -> float:
    """Over the kinds that some photograph shows: the precision, averaged over the photographs that show it."""
    model.eval()
    scores, truths = (
        torch.cat(parts) for parts in zip(*((model(x.to(DEVICE)).cpu(), y) for x, y in loader), strict=True)
    )
    precisions = []
    for score, truth in zip(scores.T, truths.T, strict=True):
        hits = truth[score.argsort(descending=True)]
        if hits.any():
            precisions.append((hits * hits.cumsum(0) / torch.arange(1, len(hits) + 1)).sum() / hits.sum())
    return float(torch.stack(precisions).mean())


def main() -> None:
    """Train, print the loss, and measure on the test split."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder of NYUv2")
    parser.add_argument("--weights", default="resnet18_pri3d_joint", help="a name of the zoo, or a weight folder")
    parser.add_argument("--scratch", action="store_true", help="random weights instead, to compare with")
    parser.add_argument("--images", type=int, help="at most so many of each split (default: all)")
    parser.add_argument("--epochs", type=int, default=10)
    options = parser.parse_args()

    torch.manual_seed(0)
    model = create_model(options.weights, options.scratch).to(DEVICE)
    # the size, mean and deviation that the weights were trained with, out of model.pretrained_cfg
    transforms = {
        "train": pri3d_zoo.create_transform(model, is_training=True),
        "test": pri3d_zoo.create_transform(model),
    }
    loaders = {}
    for split, transform in transforms.items():
        ids = (options.data / f"{split}.txt").read_text().split()[: options.images]
        loaders[split] = DataLoader(Rooms(options.data, ids, transform), batch_size=16, shuffle=split == "train")

    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-4, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, options.epochs * len(loaders["train"]))
    for epoch in range(options.epochs):
        model.train()
        losses = []
        for images, shown in loaders["train"]:
            loss = F.binary_cross_entropy_with_logits(model(images.to(DEVICE)), shown.to(DEVICE))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            losses.append(loss.item())
        print(f"epoch {epoch + 1}: loss {np.mean(losses):.4f}", flush=True)
    print(f"mean average precision {mean_average_precision(model, loaders['test']):.3f}")


if __name__ == "__main__":
    main()
