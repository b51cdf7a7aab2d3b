"""Fine-tune torchvision's Mask R-CNN, on an encoder of the zoo, with images in COCO's form.

    python examples/finetune_torchvision.py IMAGES ANNOTATIONS.json --weights resnet18_pri3d_joint --out detector.pt

Reads polygons and run lengths by way of pycocotools, as torchvision's own dataset does. What it writes is the state
dict of the detector.
"""

import argparse
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader
from torchvision.datasets import CocoDetection
from torchvision.models.detection import MaskRCNN
from torchvision.models.detection.backbone_utils import BackboneWithFPN
from torchvision.ops import masks_to_boxes
from torchvision.transforms.functional import to_tensor

import pri3d_zoo

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")


class Objects(CocoDetection):
    """Images in [0, 1] with boxes, masks and labels from 1 on, as torchvision's detectors want them."""

    def __init__(self, images: Path, annotations: Path) -> None:
        super().__init__(str(images), str(annotations))
        self.categories = sorted(self.coco.cats)  # COCO numbers its 80 from 1 to 90
        self.ids = [id for id in self.ids if self._annotations(id)]

    def _annotations(self, id: int) -> list[dict[str, Any]]:
        found = self.coco.loadAnns(self.coco.getAnnIds(id, iscrowd=False))
        return [row for row in found if min(row["bbox"][2:]) >= 1]

    def __getitem__(self, index: int) -> tuple[Tensor, dict[str, Tensor]]:
        rows = self._annotations(self.ids[index])
        masks = torch.stack([torch.from_numpy(self.coco.annToMask(row)) for row in rows])
        labels = torch.tensor([1 + self.categories.index(row["category_id"]) for row in rows])
        drawn = masks.flatten(1).any(1)  # a polygon thinner than a pixel leaves nothing
        masks, labels = masks[drawn], labels[drawn]
        boxes = masks_to_boxes(masks) + torch.tensor([0, 0, 1, 1])
        return to_tensor(self._load_image(self.ids[index])), {"boxes": boxes, "masks": masks, "labels": labels}


def create_model(weights: str, scratch: bool, classes: int, size: int) -> nn.Module:
    """Mask R-CNN with a feature pyramid on the four stages of an encoder of the zoo."""
    folder = weights if Path(weights).is_dir() else None
    name = Path(weights).name.partition(".")[0] if folder else weights
    encoder = pri3d_zoo.create_model(name, not scratch, checkpoint_path=None if scratch else folder)
    stages = encoder.feature_info[1:]  # strides 4 to 32
    layers = {stage["module"]: str(level) for level, stage in enumerate(stages)}
    backbone = BackboneWithFPN(encoder, layers, [stage["num_chs"] for stage in stages], out_channels=256)
    cfg = encoder.pretrained_cfg
    return MaskRCNN(
        backbone,
        num_classes=1 + classes,  # 0 is the background
        min_size=size,
        max_size=2 * size,
        image_mean=cfg["mean"],
        image_std=cfg["std"],
        box_batch_size_per_image=64,  # torchvision's 512 are for many objects an image, and eight times the work
    )


def main() -> None:
    """Train, print the losses, write the detector."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("images", type=Path, help="folder of the images")
    parser.add_argument("annotations", type=Path, help="COCO's JSON file")
    parser.add_argument("--weights", default="resnet18_pri3d_joint", help="a name of the zoo, or a weight folder")
    parser.add_argument("--scratch", action="store_true", help="random weights instead, to compare with")
    parser.add_argument("--size", type=int, default=240, help="the shorter side of an image becomes so long")
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--out", type=Path, default=Path("detector.pt"), help="file for the detector's state dict")
    options = parser.parse_args()

    torch.manual_seed(0)
    data = Objects(options.images, options.annotations)
    model = create_model(options.weights, options.scratch, len(data.categories), options.size).to(DEVICE)
    model.train()
    loader = DataLoader(data, batch_size=2, shuffle=True, collate_fn=lambda samples: tuple(zip(*samples, strict=True)))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.005, momentum=0.9, weight_decay=1e-4)
    step, recent = 0, []
    while step < options.steps:
        for images, targets in loader:
            targets = [{name: value.to(DEVICE) for name, value in target.items()} for target in targets]
            loss = sum(model([image.to(DEVICE) for image in images], targets).values())
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 10.0)
            optimizer.step()
            step, recent = step + 1, [*recent, loss.item()]
            if step % max(1, options.steps // 10) == 0:
                print(f"step {step}: loss {sum(recent) / len(recent):.4f}", flush=True)
                recent = []
            if step == options.steps:
                break
    torch.save(model.state_dict(), options.out)
    print(f"detector of {len(data.categories)} classes in {options.out}")


if __name__ == "__main__":
    main()
