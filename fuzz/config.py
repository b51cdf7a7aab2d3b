"""Fuzzes recipes, key=value overrides and saved configurations: `python fuzz/config.py -max_total_time=600`.

An input is the text of a recipe and, after a line of `---8<---`, an override a line; or, without that, a saved one.
"""

from pathlib import Path

import common

with common.instrumented:
    from pri3d_zoo.training.config import Config, flat_keys, load_config, read_config, save_config
    from pri3d_zoo.training.errors import InputError

CUT = b"\n---8<---"
SEEDS = [
    b"run: r\ndata: {store: s}\nsteps: 7\nloss: {matches: 9}" + CUT + b"\nsize=[64,96]\nloss.radius=0.05",
    b"base: demo\nloss:\n  voxel_radius: null" + CUT + b"\nrun=r\ndata.store=s\ndata.holdout=[a,b]",
    b"run: r\ndata: &x {store: s}\nmodel: {encoder: resnet18}" + CUT + b"\ninit=${run}\nmodel.decoder=light",
    b"run: r\ndata: {store: s, more_stores: [a], weights: [1, 2]}" + CUT,
    b"run: r\ndata:\n  store: s\nloss:\n  method: view\noptimizer:\n  lr: 1e-3\nsize: [64, 96]\ncompile: true\n",
]


def check(data: bytes, folder: Path) -> None:
    """A configuration that is accepted is the same after it was saved and read."""
    text, cut, overrides = data.partition(CUT)
    path = folder / "config.yaml"
    path.write_bytes(text)
    lines = overrides.decode(errors="surrogateescape").split("\n")[1:]
    config = load_config(str(path), lines) if cut else read_config(path)
    save_config(config, path)
    assert repr(read_config(path)) == repr(config)  # not ==, for not a number is unlike itself


if __name__ == "__main__":
    words = [*flat_keys(Config(run="r")), "base", "&a", "*a", "!!int", "null", "true", ".nan", "${", "}", "???", "<<: "]
    common.fuzz(check, SEEDS, refusals=(InputError,), words=words)
