"""Fine-tune a UNet of segmentation_models_pytorch on NYUv2: 13 classes, one for each pixel.

    python examples/finetune_smp.py NYUV2 --weights resnet18_pri3d_joint

NYUV2 is a folder with `image/ID.jpg`, `label40/ID.png` (0 = void, 1 to 40), `train.txt` and `test.txt`.
"""

import argparse
from pathlib import Path

import numpy as np
import segmentation_models_pytorch as smp
import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

import pri3d_zoo
from pri3d_zoo.training.evaluate.label_sets import NYU13, NYU40_TO_13

IGNORED = 255
CLASS_OF = np.array([IGNORED, *(number - 1 for number in NYU40_TO_13)], np.uint8)  # by the label in the file

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")


class Rooms(Dataset[tuple[Tensor, Tensor]]):
    """Photographs, normalised, and the class of each pixel, at one size (height, width)."""

    def __init__(self, folder: Path, ids: list[str], size: tuple[int, int], mean: Tensor, std: Tensor) -> None:
        self.folder, self.ids, self.wide = folder, ids, (size[1], size[0])
        self.mean, self.std = mean[:, None, None], std[:, None, None]

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        image = Image.open(self.folder / "image" / f"{self.ids[index]}.jpg").convert("RGB").resize(self.wide)
        labels = Image.open(self.folder / "label40" / f"{self.ids[index]}.png").resize(
            self.wide, Image.Resampling.NEAREST
        )
        pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1) / 255
        return (pixels - self.mean) / self.std, torch.from_numpy(CLASS_OF[np.array(labels)]).long()


def create_model(weights: str, scratch: bool) -> tuple[nn.Module, Tensor, Tensor]:
    """The UNet on an encoder of the zoo, and the mean and deviation that the encoder's images want."""
    folder = weights if Path(weights).is_dir() else None
    name = Path(weights).name.partition(".")[0] if folder else weights
    encoder = pri3d_zoo.create_model(name, not scratch, checkpoint_path=None if scratch else folder)
    unet = smp.Unet(encoder_name=f"tu-{name.partition('.')[0]}", encoder_weights=None, classes=len(NYU13))
    # encoder_weights=True does this by itself where the zoo knows the weights by name; strict: not a tensor is missed
    unet.encoder.model.load_state_dict(encoder.state_dict())
    cfg = encoder.pretrained_cfg
    return unet, torch.tensor(cfg["mean"]), torch.tensor(cfg["std"])


@torch.no_grad()
def mean_iou(model: nn.Module, loader: DataLoader[tuple[Tensor, Tensor]]) -> float:
    """Intersection over union, averaged over the classes that occur."""
    model.eval()
    confusion = torch.zeros(len(NYU13) ** 2, dtype=torch.int64)
    for images, classes in loader:
        counted = classes != IGNORED
        pairs = classes[counted] * len(NYU13) + model(images.to(DEVICE)).argmax(1).cpu()[counted]
        confusion += torch.bincount(pairs, minlength=len(NYU13) ** 2)
    matrix = confusion.view(len(NYU13), len(NYU13)).double()
    union = matrix.sum(0) + matrix.sum(1) - matrix.diagonal()
    return float((matrix.diagonal() / union)[matrix.sum(1) > 0].mean())


def main() -> None:
    """Train, print the loss, and measure on the test split."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder of NYUv2")
    parser.add_argument("--weights", default="resnet18_pri3d_joint", help="a name of the zoo, or a weight folder")
    parser.add_argument("--scratch", action="store_true", help="random weights instead, to compare with")
    parser.add_argument("--images", type=int, help="at most so many of each split (default: all)")
    parser.add_argument("--size", type=int, nargs=2, default=(240, 320), help="height and width, in 32s")
    parser.add_argument("--epochs", type=int, default=10)
    options = parser.parse_args()

    torch.manual_seed(0)
    model, mean, std = create_model(options.weights, options.scratch)
    model.to(DEVICE)
    loaders = {}
    for split in ("train", "test"):
        ids = (options.data / f"{split}.txt").read_text().split()[: options.images]
        rooms = Rooms(options.data, ids, tuple(options.size), mean, std)
        loaders[split] = DataLoader(rooms, batch_size=8, shuffle=split == "train")

    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    schedule = torch.optim.lr_scheduler.PolynomialLR(optimizer, options.epochs * len(loaders["train"]), power=0.9)
    criterion = nn.CrossEntropyLoss(ignore_index=IGNORED)
    for epoch in range(options.epochs):
        model.train()
        losses = []
        for images, classes in loaders["train"]:
            loss = criterion(model(images.to(DEVICE)), classes.to(DEVICE))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            losses.append(loss.item())
        print(f"epoch {epoch + 1}: loss {np.mean(losses):.4f}", flush=True)
    print(f"mean IoU {mean_iou(model, loaders['test']):.3f}")


if __name__ == "__main__":
    main()
