"""Fuzz one target with atheris: `python -m tests.fuzz.run TARGET [--seconds 60] [--corpus FOLDER]`.

Ends at the first find. Its file is then in `tests/fuzz/finds/TARGET`, and `make test` reads it from now on.
"""

import argparse
import json
import random
import re
import subprocess
import sys
import tempfile
import zipfile
import zlib
from io import BytesIO
from pathlib import Path

import atheris

HERE = Path(__file__).parent
_PNG = b"\x89PNG\r\n\x1a\n"

_INSTRUMENTED = ["tumorboard", "pydicom", "PIL", "tomllib", "tomli_w", "csv", "zipfile", "json"]

with atheris.instrument_imports(include=_INSTRUMENTED):
    from tests.fuzz.targets import TARGETS

    if "keras" in sys.argv:
        import tumorboard.models.safe_loading  # noqa: F401


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("target", choices=TARGETS)
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--corpus", type=Path, help="a folder to go on from, and to keep what is new in")
    options = parser.parse_args()
    name = options.target
    corpus = options.corpus or Path(tempfile.mkdtemp())
    corpus.mkdir(parents=True, exist_ok=True)
    if not any(corpus.iterdir()):
        subprocess.run([sys.executable, "-m", "tests.fuzz.seeds", name, str(corpus)], check=True)
    memory = Path("/dev/shm")  # noqa: S108 - each execution writes a file
    tempfile.tempdir = str(memory) if memory.is_dir() else None
    finds = HERE / "finds" / name
    finds.mkdir(parents=True, exist_ok=True)
    words = corpus.with_name(f"{corpus.name}.words")
    words.write_text("".join(f'"{word}"\n' for word in sorted(_words(corpus))))
    flags = {
        "max_total_time": options.seconds,
        "timeout": 25,  # seconds for one input, on a busy machine
        "rss_limit_mb": 2000,
        "artifact_prefix": f"{finds}/",
        "dict": words,
        "print_final_stats": 1,
        "verbosity": 0,
        "max_len": 100_000,
    }
    arguments = [sys.argv[0], str(corpus), *(f"-{flag}={value}" for flag, value in flags.items())]
    mutators = {"image": _mutated_picture, "run": _mutated_json, "keras": _mutated_archive}
    own_mutator = {"custom_mutator": mutators[name]} if name in mutators else {}
    atheris.Setup(arguments, TARGETS[name], **own_mutator)
    atheris.Fuzz()


def _words(corpus: Path) -> set[str]:
    """The words of the corpus, which mutations then put anywhere."""
    text = b"\n".join(file.read_bytes()[:5000] for file in corpus.iterdir())
    return {word.decode() for word in re.findall(rb"[A-Za-z_][A-Za-z_0-9.:]{2,30}", text)}


def _mutated_picture(content: bytes, most: int, _seed: int) -> bytes:
    """A mutant; of a PNG one with sound checksums, or every mutant would be refused for those."""
    mutant = bytearray(atheris.Mutate(content, most))
    at = len(_PNG)
    while mutant.startswith(_PNG) and at + 12 <= len(mutant):
        end = at + 8 + int.from_bytes(mutant[at : at + 4], "big")
        if end + 4 <= len(mutant):
            mutant[end : end + 4] = zlib.crc32(mutant[at + 4 : end]).to_bytes(4, "big")
        at = end + 4
    return bytes(mutant)


def _mutated_json(content: bytes, most: int, seed: int) -> bytes:
    """A mutant; mostly with one value in place of another, as changed bytes are no JSON at all."""
    draw = random.Random(seed)  # noqa: S311
    try:
        values = [json.loads(content)]
    except (ValueError, RecursionError):
        return atheris.Mutate(content, most)
    if draw.random() < 0.2:
        return atheris.Mutate(content, most)
    holders = [values]
    for holder in holders:
        items = holder.values() if isinstance(holder, dict) else holder
        holders.extend(item for item in items if isinstance(item, dict | list) and item)
    holder = draw.choice(holders)
    key = draw.choice(list(holder) if isinstance(holder, dict) else range(len(holder)))
    other = draw.choice(holders)
    strangers = (None, True, -1, 0.5, 1e308, 10**30, "", "x", "../x", [], {}, [[]], [1, "x"], {"x": 1}, other)
    holder[key] = json.loads(json.dumps(draw.choice(strangers)))
    return json.dumps(values[0]).encode()[:most]


def _mutated_archive(content: bytes, most: int, seed: int) -> bytes:
    """A mutant; mostly of one file in the archive, which then has sound checksums."""
    try:
        with zipfile.ZipFile(BytesIO(content)) as archive:
            parts = {name: archive.read(name) for name in archive.namelist()}
    except Exception:
        parts = {}
    if not parts or seed % 8 == 0:
        return atheris.Mutate(content, most)
    name = sorted(parts)[seed // 8 % len(parts)]
    mutated = _mutated_json if name == "config.json" else lambda part, most, _seed: atheris.Mutate(part, most)
    parts[name] = mutated(parts[name], min(most, len(parts[name]) + 1000), seed // 8)
    file = BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, part in parts.items():
            archive.writestr(name, part)
    return file.getvalue()[:most]


if __name__ == "__main__":
    main()
