"""Fine-tune detectron2's Mask R-CNN with an encoder of the zoo, on images in COCO's form.

    python examples/finetune_detectron2.py IMAGES ANNOTATIONS.json --weights resnet18_pri3d_joint --out RUN

Needs detectron2, which is in no package index: see https://detectron2.readthedocs.io. RUN then holds its logs and
`model_final.pth`.
"""

import argparse
import json
from pathlib import Path

import torch
from detectron2.config import CfgNode, get_cfg
from detectron2.data.datasets import register_coco_instances
from detectron2.engine import DefaultTrainer
from detectron2.utils.logger import setup_logger

from pri3d_zoo import d2

DATASET = "example_train"


def configuration(options: argparse.Namespace) -> CfgNode:
    """The configuration that comes with the package, with what differs here."""
    register_coco_instances(DATASET, {}, str(options.annotations), str(options.images))
    rows = json.loads(options.annotations.read_text())
    coded = any(isinstance(row["segmentation"], dict) for row in rows["annotations"])
    cfg = get_cfg()
    # colour order, mean, deviation and strides as the weights want them; detectron2's own defaults fit none of them
    cfg.merge_from_file(
        str(d2.config_file("mask_rcnn_R_18_FPN_coco" if options.depth == 18 else "mask_rcnn_R_50_FPN_coco"))
    )
    cfg.MODEL.WEIGHTS = f"pri3d://{options.weights}"  # a name, or a path with a slash in it
    cfg.MODEL.ROI_HEADS.NUM_CLASSES = len(rows["categories"])
    cfg.MODEL.ROI_HEADS.BATCH_SIZE_PER_IMAGE = 64  # the usual 512 are for many objects an image, and more work
    cfg.MODEL.DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
    if cfg.MODEL.DEVICE == "cpu":  # synchronised batch norm is for several GPUs
        cfg.MODEL.RESNETS.NORM, cfg.MODEL.FPN.NORM = "BN", ""
        cfg.MODEL.ROI_BOX_HEAD.NORM, cfg.MODEL.ROI_MASK_HEAD.NORM = "", ""
    cfg.INPUT.MASK_FORMAT = "bitmask" if coded else "polygon"
    cfg.INPUT.MIN_SIZE_TRAIN, cfg.INPUT.MAX_SIZE_TRAIN = [options.size], 2 * options.size
    cfg.DATASETS.TRAIN, cfg.DATASETS.TEST = [DATASET], []
    cfg.DATALOADER.NUM_WORKERS = 0
    cfg.SOLVER.IMS_PER_BATCH, cfg.SOLVER.BASE_LR = 2, 0.0025  # sixteen images: 0.02
    cfg.SOLVER.MAX_ITER, cfg.SOLVER.STEPS, cfg.SOLVER.WARMUP_ITERS = options.steps, [], options.steps // 10
    cfg.TEST.EVAL_PERIOD = 0
    cfg.TEST.PRECISE_BN.ENABLED = False
    cfg.OUTPUT_DIR = str(options.out)
    return cfg


def main() -> None:
    """Train; detectron2 logs the losses every 20 steps and writes the detector."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("images", type=Path, help="folder of the images")
    parser.add_argument("annotations", type=Path, help="COCO's JSON file")
    parser.add_argument("--weights", default="resnet18_pri3d_joint", help="a name of the zoo, or the path of a folder")
    parser.add_argument("--depth", type=int, choices=(18, 50), default=18, help="of the ResNet")
    parser.add_argument("--size", type=int, default=240, help="the shorter side of an image becomes so long")
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--out", type=Path, default=Path("detectron2_run"), help="folder of the run")
    options = parser.parse_args()

    setup_logger()
    d2.register()
    cfg = configuration(options)
    options.out.mkdir(parents=True, exist_ok=True)
    trainer = DefaultTrainer(cfg)
    trainer.resume_or_load(resume=False)
    d2.check_loaded(trainer.model)  # detectron2 itself goes on in silence when nothing was loaded
    trainer.train()
    print(f"detector of {cfg.MODEL.ROI_HEADS.NUM_CLASSES} classes in {options.out / 'model_final.pth'}")


if __name__ == "__main__":
    main()
