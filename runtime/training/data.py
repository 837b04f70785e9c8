"""Characters of text files as token ids, with a part held out, and batches that a seed fixes.

Each file gives its last tenth to validation, so both parts hold the same kind of text and no window of one overlaps the other.
A batch depends on the seed and the number of the step only: a run that is resumed needs no state of a generator.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

UNKNOWN = 0
UNKNOWN_SIGN = "\ufffd"


class DataMistake(ValueError):
    """The data does not do for training: nothing there, no text, or too little of it."""


@dataclass(frozen=True)
class Texts:
    """What was read: the texts of the files in order, and how many files were no text."""

    files: tuple[Path, ...]
    texts: tuple[str, ...]
    skipped: int = 0

    @property
    def digest(self) -> str:
        """A short name for the content: the same texts in the same order have the same."""
        total = hashlib.sha256()
        for text in self.texts:
            total.update(hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest())
        return total.hexdigest()[:16]


def read_texts(paths: Sequence[str | Path], limit: int | None = None) -> Texts:
    """Read files, and all files below directories, as UTF-8; what is no text is skipped.

    The order is that of the paths, and by name within a directory. Hidden entries and
    `__pycache__` are passed over. With `limit`, reading stops after so many characters.

    Raises:
        DataMistake: a path is not there, or nothing readable is.
    """
    files: list[Path] = []
    texts: list[str] = []
    skipped, left = 0, float("inf") if limit is None else limit
    for path in dict.fromkeys(file for given in paths for file in _files(Path(given))):
        if left <= 0:
            break
        text = _text(path)
        if text is None:
            skipped += 1
        elif text:
            text = text if len(text) <= left else text[: int(left)]
            left -= len(text)
            files.append(path)
            texts.append(text)
    if not texts:
        raise DataMistake(_nothing(paths, skipped))
    return Texts(tuple(files), tuple(texts), skipped)


def _files(path: Path) -> Iterator[Path]:
    if path.is_dir():
        for folder, inner, names in os.walk(path):
            inner[:] = sorted(n for n in inner if n[0] != "." and n != "__pycache__")
            found = (Path(folder, name) for name in sorted(names) if name[0] != ".")
            yield from (file for file in found if file.is_file())
    elif path.is_file():
        yield path
    elif path.exists():
        raise DataMistake(f"`{path}` is neither a file nor a directory")
    else:
        raise DataMistake(f"there is no file or directory `{path}`")


def _text(path: Path) -> str | None:
    """The text of a file, None for one that is binary, not UTF-8, or not readable."""
    try:
        data = path.read_bytes()
        text = None if b"\0" in data else data.decode("utf-8-sig")
    except (OSError, UnicodeDecodeError):
        return None
    return None if text is None else text.replace("\r\n", "\n")


def _nothing(paths: Sequence[str | Path], skipped: int) -> str:
    where = ", ".join(f"`{path}`" for path in paths) or "the data"
    if skipped:
        return f"no text in {where}: {skipped} file(s) are not UTF-8 text"
    return f"no text in {where}: there are no files, or only empty ones"


@dataclass(frozen=True)
class Vocabulary:
    """The characters that occur, in order of code point; id 0 stands for every other one."""

    characters: str

    def __len__(self) -> int:
        return len(self.characters) + 1

    @cached_property
    def _codes(self) -> np.ndarray:
        return _code_points(self.characters)

    def encode(self, text: str) -> Tensor:
        """Token ids (length,), int32; 0 where a character is unknown."""
        codes = _code_points(text)
        place = np.searchsorted(self._codes, codes)
        known = self._codes[np.minimum(place, len(self._codes) - 1)] == codes
        return torch.from_numpy(np.where(known, place + 1, UNKNOWN).astype(np.int32))

    def decode(self, tokens: Sequence[int] | Tensor) -> str:
        """The text of token ids."""
        signs = UNKNOWN_SIGN + self.characters
        return "".join(signs[int(token)] for token in tokens)


def _code_points(text: str) -> np.ndarray:
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype=np.uint32)


@dataclass(frozen=True)
class Corpus:
    """Token ids (length,) to train on and to validate on, and the vocabulary of the former."""

    vocabulary: Vocabulary
    training: Tensor
    validation: Tensor
    digest: str = ""

    @property
    def unigram(self) -> float:
        """Validation loss (nats per character) of a model that knows only how often each occurs."""
        counts = torch.bincount(self.training.long(), minlength=len(self.vocabulary)) + 1.0
        return float(-(counts / counts.sum()).log()[self.validation.long()].mean())


def corpus_of(texts: Texts, length: int, held_out: float = 0.1) -> Corpus:
    """Split each text, the last part for validation, and turn both parts into token ids.

    Raises:
        DataMistake: a part is too short for one window of `length` characters and its next one.
    """
    cuts = [len(text) - int(len(text) * held_out) for text in texts.texts]
    pairs = list(zip(texts.texts, cuts, strict=True))
    training = "".join(text[:cut] for text, cut in pairs)
    validation = "".join(text[cut:] for text, cut in pairs)
    for part, name in ((training, "training"), (validation, "validation")):
        if len(part) <= length:
            raise DataMistake(
                f"the data has {len(part)} characters for {name}; windows of --length {length} "
                f"need at least {length + 1}: give more text or a smaller --length"
            )
    vocabulary = Vocabulary("".join(sorted(set(training))))
    encoded = vocabulary.encode(training), vocabulary.encode(validation)
    return Corpus(vocabulary, *encoded, digest=texts.digest)


def batch_at(tokens: Tensor, length: int, size: int, seed: int, step: int) -> Tensor:
    """The windows of one step, (size, length + 1): what is read and, one on, what follows."""
    generator = np.random.default_rng((seed, step))
    starts = generator.integers(0, tokens.numel() - length, size=size)
    return _windows(tokens, starts, length)


def fixed_windows(tokens: Tensor, length: int, count: int) -> Tensor:
    """At most `count` windows (n, length + 1) spread evenly over the tokens, without overlap."""
    fit = (tokens.numel() - 1) // length
    count = min(count, fit)
    return _windows(tokens, np.arange(count) * fit // count * length, length)


def _windows(tokens: Tensor, starts: np.ndarray, length: int) -> Tensor:
    places = torch.from_numpy(starts)[:, None] + torch.arange(length + 1)
    return tokens[places].long()
