#!/bin/sh
# The zoo's weights on rendered rooms, from nothing to a table: render on all cores, train each from scratch on one GPU
# with all frames in its memory, export, and measure in rooms never seen (and on NYUv2, where its folder is given).
#
#   ./weights.sh OUT [NYUV2]      ROOMS=1500 JUDGE=20 STEPS=4000 SIZE="240 320" MODELS="joint_resnet18 ..." ARGS="key=value ..."
#
# Every step goes on where it was: after an interruption the same command finishes it. Half an hour on 16 cores and an
# H100 is the aim of the defaults; nobody has measured it there.
set -eu
out=$1 nyuv2=${2:-}
rooms=${ROOMS:-1500} judge=${JUDGE:-20} steps=${STEPS:-4000} size=${SIZE:-240 320}
models=${MODELS:-joint_resnet18 view_resnet18 geo_resnet18 joint_resnet50}
begun=$(date +%s)
step() { printf '\n== %s (%d s)\n' "$1" $(($(date +%s) - begun)); }
frames=$(python -c 'import torch; print("device" if torch.cuda.is_available() else "disk")')

step "Render $rooms rooms to train on; to judge by $judge others and $judge with things that are in no other room"
pri3d-train prepare synthrooms "0:$rooms" "$out/train" --frames 40 --size $size
for split in val shifted; do
    pri3d-train prepare synthrooms "0:$judge" "$out/$split" --split $split --frames 40 --size $size
done

for model in $models; do
    folder="$out/${model#*_}_pri3d_${model%_*}.synthrooms"
    [ -d "$folder" ] && continue
    step "Train $model"
    decoder=authors
    [ "${model#*_}" = resnet50 ] && decoder=light # for ResNet-50 the authors' costs 33 times the encoder
    pri3d-train pretrain --recipe "synthrooms_$model" "run=$out/run_$model" "data.store=$out/train" init=scratch \
        "steps=$steps" "size=[$(echo "$size" | tr ' ' ,)]" "data.frames=$frames" "model.decoder=$decoder" ${ARGS:-}
    if [ $decoder = authors ]; then
        rm -rf "$out/resunet${folder##*/resnet}"
        pri3d-train export "$out/run_$model" "$out/resunet${folder##*/resnet}" --dense --half --tag synthrooms --licence apache-2.0
    fi
    pri3d-train export "$out/run_$model" "$folder" --half --tag synthrooms --licence apache-2.0
done

step "Measure"
for split in val shifted; do
    pri3d-train probe "$out"/resnet*.synthrooms "$out/$split" --protocol probe3d --size $size --out "$out/probe_$split.json"
done
if [ -n "$nyuv2" ]; then
    pri3d-train linear "$out"/resnet*.synthrooms "$nyuv2" --size $size
fi
step "Done"
