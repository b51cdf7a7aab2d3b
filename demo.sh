#!/bin/sh
# From nothing to a loaded backbone: rooms, pairs and chunks, joint training, export, loading, probe, report.
# Every step goes on where it was, so after an interruption the same command finishes the demo.
set -eu
out=${1:-demo}
begun=$(date +%s)
step() { printf '\n== %s (%d s)\n' "$1" $(($(date +%s) - begun)); }

step "Render rooms to RGB-D video, mine pairs, voxelise surfaces: the rooms to train on, and others to judge by"
pri3d-train prepare synthrooms 0:24 "$out/train" --frames 32 --size 120 160 --voxel-size 0.05
pri3d-train prepare synthrooms 1000:1006 "$out/heldout" --frames 32 --size 120 160 --voxel-size 0.05

step "Train a 2D ResUNet and a sparse 3D UNet jointly"
pri3d-train pretrain --recipe demo "run=$out/run" "data.store=$out/train"

step "Export the weights and load them"
rm -rf "$out/resnet18_pri3d_joint.demo" "$out/resunet18_pri3d_joint.demo"
pri3d-train export "$out/run" "$out/resnet18_pri3d_joint.demo" --tag demo
pri3d-train export "$out/run" "$out/resunet18_pri3d_joint.demo" --tag demo --dense
python - "$out" <<'PYTHON'
import sys
import torch
import pri3d_zoo

folder = f"{sys.argv[1]}/resnet18_pri3d_joint.demo"
backbone = pri3d_zoo.create_model("resnet18_pri3d_joint", checkpoint_path=folder, features_only=True).eval()
for stride, features in zip(backbone.feature_info.reduction(), backbone(torch.zeros(1, 3, 240, 320))):
    print(f"stride {stride:2d}: {tuple(features.shape)}")
PYTHON

step "Probe: how often do features find the same point in another view of rooms never seen?"
pri3d-train probe "$out/resunet18_pri3d_joint.demo" "$out/heldout" --protocol covisible --stages decoder --size 120 160 --out "$out/probe.json"

step "Picture: features of a room never seen, from two sides, as colours; and where the middle of one is in the other"
python -m zipfile -e "$out/heldout/room00001001.pri3d.zip" "$out/frames"
rm -f "$out/features.jpg"
pri3d-zoo features resunet18_pri3d_joint "$out/frames/color/000005.jpg" "$out/frames/color/000014.jpg" \
    --weights "$out/resunet18_pri3d_joint.demo" --out "$out/features.jpg"

step "Report"
pri3d-train report "$out/run" --store "$out/heldout"
step "Done"
