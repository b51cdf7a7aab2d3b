"""What the harnesses share: atheris with this package instrumented, the seeds, and archives that are mutated inside.

A reader may do two things with an input: take it, or refuse it with one of the errors that it documents. Any other
exception is a finding, and so are ten seconds for one input and two gigabytes of memory.
"""

import io
import random
import resource
import sys
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import atheris

SECONDS, MEGABYTES = 10, 2048
LONGEST = 1 << 16  # bytes of an input; the seeds are some thousand

instrumented = atheris.instrument_imports(include=["pri3d_zoo"])
"""`with instrumented:` around the imports of a harness; the libraries beneath stay as they are, and quick."""


def fuzz(
    check: Callable[[bytes, Path], object],
    seeds: Iterable[bytes],
    *,
    refusals: tuple[type[Exception], ...],
    words: Iterable[str] = (),
    archive: bool = False,
) -> None:
    """Run `check(input, empty folder)` on what libFuzzer makes of the seeds, until it has a finding or had enough.

    Args:
        check: Reads the input; the folder is the same each time, and what lies in it is overwritten.
        seeds: Inputs that are fine.
        refusals: The errors that are no findings.
        words: What the inputs are made of, for libFuzzer's dictionary.
        archive: The inputs are zip archives: change what is in them, and seal them with checksums that fit.
    """
    with tempfile.TemporaryDirectory() as place:
        corpus, scratch, dictionary = Path(place, "corpus"), Path(place, "scratch"), Path(place, "words")
        corpus.mkdir()
        scratch.mkdir()
        for number, seed in enumerate(seeds):
            (corpus / f"seed{number}").write_bytes(seed)
        # libFuzzer takes no dictionary without a word
        dictionary.write_text("".join(f'"{word}"\n' for word in (*words, "PK")), encoding="utf-8")

        def once(data: bytes) -> None:
            try:
                check(data, scratch)
            except refusals as error:
                message = str(error)
                if "\n" in message or not message.isprintable():
                    raise RuntimeError(f"the refusal is not one printable line: {message!r}") from error

        limits = (f"-timeout={SECONDS}", f"-rss_limit_mb={MEGABYTES}", f"-max_len={LONGEST}", f"-dict={dictionary}")
        mutator = {"custom_mutator": mutate_archive} if archive else {}
        # libFuzzer sees what is used; what is merely asked for is refused by the system, as a MemoryError
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + MEGABYTES * 2**20,) * 2)
        atheris.Setup([sys.argv[0], *limits, *sys.argv[1:], str(corpus)], once, **mutator)
        atheris.Fuzz()


def pack(members: Mapping[str, bytes]) -> bytes:
    """A zip archive, not deflated, as torch and the store write them."""
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_STORED) as file:
        for name, content in members.items():
            file.writestr(zipfile.ZipInfo(name), content)
    return data.getvalue()


def unpack(data: bytes) -> dict[str, bytes]:
    """The members of an archive; none if it is broken."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as file:
            return {name: file.read(name) for name in file.namelist()}
    except Exception:  # the standard library's many ways to say no
        return {}


def mutate_archive(data: bytes, longest: int, seed: int) -> bytes:
    """One member changed under a fitting checksum; now and then one left out, or the bytes of the archive changed."""
    chance = random.Random(seed)
    members = unpack(data)
    if not members or chance.random() < 0.1:
        return atheris.Mutate(data, longest)
    name = chance.choice(list(members))
    if chance.random() < 0.03:
        del members[name]
    else:
        content = atheris.Mutate(members[name], max(len(members[name]) + 256, 512))
        members[name] = _sealed_png(content) if name.endswith(".png") else content
    return pack(members)[:longest]


def _sealed_png(data: bytes) -> bytes:
    """A PNG with checksums that fit, as far as its chunks can be followed."""
    parts, position = [data[:8]], 8
    while position + 12 <= len(data):
        end = position + 8 + int.from_bytes(data[position : position + 4])
        chunk = data[position:end]
        parts += [chunk, zlib.crc32(chunk[4:]).to_bytes(4)]
        position = end + 4
    return b"".join(parts)
