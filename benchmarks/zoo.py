"""What the zoo costs on top of timm: the time of its import, and of a forward pass.

    python benchmarks/zoo.py [--imports 9] [--passes 15] [--threads 1]

Both sides take turns, so that whatever else the machine does befalls them alike; each number is a median, with the
quartiles in brackets, and the ratio is the median of the ratios of neighbours. An import is that of a fresh process,
timed inside it, without the start of Python.
"""

import argparse
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial

import timm
import torch

import pri3d_zoo

IMPORT_TARGET, FORWARD_TARGET = 1.10, 1.03
MODEL, PLAIN = "resnet50_pri3d_joint", "resnet50"
SIZE, BATCH = (240, 320), 4
TIMED_IMPORT = "import time; begin = time.perf_counter(); import {}; print(time.perf_counter() - begin)"
# every way to the network ends in one of these; what the import of timm brings along is none of the zoo's doing
CHECKED_IMPORT = """
import socket, sys
def refuse(*arguments, **options):
    raise AssertionError("the network was asked")
socket.socket.connect = socket.socket.connect_ex = socket.getaddrinfo = socket.create_connection = refuse
import timm
before = set(sys.modules)
import pri3d_zoo
print(*sorted({name.partition(".")[0] for name in sys.modules.keys() - before}))
"""


def python(code: str) -> str:
    """What a fresh process prints."""
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout


def import_seconds(module: str) -> float:
    return float(python(TIMED_IMPORT.format(module)))


def take_turns(ours: Callable[[], float], theirs: Callable[[], float], turns: int) -> tuple[list[float], list[float]]:
    """Times of both after one turn to warm up; who goes first changes from turn to turn."""
    times: tuple[list[float], list[float]] = ([], [])
    for turn in range(turns + 1):
        for which in (turn % 2, 1 - turn % 2):
            times[which].append((ours, theirs)[which]())
    return times[0][1:], times[1][1:]


def forward_seconds(model: torch.nn.Module, images: torch.Tensor) -> float:
    begin = time.perf_counter()
    model(images)
    return time.perf_counter() - begin


def show(what: str, names: tuple[str, str], times: tuple[list[float], list[float]], target: float) -> None:
    def line(values: list[float], unit: str) -> str:
        low, middle, high = statistics.quantiles(values, n=4)
        return f"{middle:7.3f} {unit} [{low:.3f} {high:.3f}]"

    ratios = [mine / other for mine, other in zip(*times, strict=True)]
    print(what)
    for name, values in zip(names, times, strict=True):
        print(f"    {name:<24}{line(values, 's')}")
    verdict = "met" if statistics.median(ratios) <= target else "MISSED"
    print(f"    {'ratio':<24}{line(ratios, ' ')}  target at most {target:.2f}: {verdict}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--imports", type=int, default=9)
    parser.add_argument("--passes", type=int, default=15)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()

    brought = set(python(CHECKED_IMPORT).split())
    print(f"import pri3d_zoo brings no network, and beyond what timm imports: {', '.join(sorted(brought))}")
    names = ("pri3d_zoo", "timm")
    times = take_turns(*(partial(import_seconds, name) for name in names), options.imports)
    show(f"import, {options.imports} fresh processes of each", names, times, IMPORT_TARGET)

    torch.manual_seed(0)
    torch.set_num_threads(options.threads)
    images = torch.randn(BATCH, 3, *SIZE)
    model = pri3d_zoo.create_model(MODEL, pretrained=False).eval()
    plain = timm.create_model(PLAIN, num_classes=0).eval()
    with torch.no_grad():
        times = take_turns(*(partial(forward_seconds, net, images) for net in (model, plain)), options.passes)
    what = f"forward of {BATCH}x3x{SIZE[0]}x{SIZE[1]}, threads: {options.threads}, {options.passes} passes of each"
    show(what, (MODEL, PLAIN), times, FORWARD_TARGET)


if __name__ == "__main__":
    main()
