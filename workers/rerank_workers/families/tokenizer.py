"""Turns texts into token ids and token ids into the rows a model reads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tokenizers import Encoding, Tokenizer

from rerank_workers.engines.batch import Row
from rerank_workers.engines.files import ModelFiles, ModelFilesError, read_json

_SLOW_FILES = ("vocab.txt", "sentencepiece.bpe.model", "spiece.model", "tokenizer.model")
_PAD_TOKENS = ("[PAD]", "<pad>", "<|endoftext|>")


@dataclass(frozen=True, slots=True)
class Segment:
    """A run of ids that is the same in every row (special tokens), with their token types."""

    ids: NDArray[np.int32]
    types: NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Frame:
    """What the tokenizer's template puts around texts: fixed segments, and each text's type.

    A frame for n texts has n + 1 segments: before, between and after them.
    """

    segments: tuple[Segment, ...]
    text_types: tuple[int, ...]

    @property
    def special_tokens(self) -> int:
        """How many tokens the frame itself takes."""
        return sum(len(segment.ids) for segment in self.segments)

    def row(self, *texts: Sequence[int]) -> Row:
        """Lay texts (token ids without special tokens) into the frame."""
        ids = [self.segments[0].ids]
        types = [self.segments[0].types]
        for text, kind, after in zip(texts, self.text_types, self.segments[1:], strict=True):
            ids += (np.asarray(text, dtype=np.int32), after.ids)
            types += (np.full(len(text), kind, dtype=np.uint8), after.types)
        return Row(np.concatenate(ids), np.concatenate(types))


class TextTokenizer:
    """A version's tokenizer. Safe to call from several threads; releases the GIL."""

    def __init__(self, tokenizer: Tokenizer, *, pad_id: int, uses_types: bool, file: str) -> None:
        """Take over a tokenizer; any truncation and padding stored in it are switched off."""
        tokenizer.no_padding()
        tokenizer.no_truncation()
        self._tokenizer = tokenizer
        self.pad_id = pad_id
        self.file = file
        probe = tokenizer.encode("a", add_special_tokens=False)
        self.single = _frame(tokenizer.post_process(probe), [probe], uses_types)
        self.pair = _frame(tokenizer.post_process(probe, probe), [probe, probe], uses_types)

    def ids(self, texts: Sequence[str]) -> list[list[int]]:
        """Encode texts in parallel, whole, without special tokens."""
        encodings = self._tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)
        return [encoding.ids for encoding in encodings]

    def token_id(self, token: str) -> int | None:
        """Find a token's id by its exact text."""
        found: int | None = self._tokenizer.token_to_id(token)
        return found


def load_tokenizer(directory: Path, files: ModelFiles) -> TextTokenizer:
    """Load the tokenizer in `directory` for the model of `files`.

    Without a tokenizer.json, the slow files of old models (vocab.txt, sentencepiece.bpe.model)
    are converted by transformers, which costs its import.

    Raises:
        ModelFilesError: there is no tokenizer in the folder, or it is damaged.
    """
    path = directory / "tokenizer.json"
    if path.is_file():
        tokenizer = _from_file(path)
    else:
        slow = next((name for name in _SLOW_FILES if (directory / name).is_file()), None)
        if slow is None:
            raise ModelFilesError(
                f"{directory}: no tokenizer (tokenizer.json, {', '.join(_SLOW_FILES)})"
            )
        path = directory / slow
        tokenizer = _converted(path, files)
    names = read_json(directory / "tokenizer_config.json").get("model_input_names")
    return TextTokenizer(
        tokenizer,
        pad_id=_pad_id(tokenizer, files),
        uses_types=not isinstance(names, list) or "token_type_ids" in names,
        file=f"{directory.name}/{path.name}",
    )


def _from_file(path: Path) -> Tokenizer:
    try:
        return Tokenizer.from_file(str(path))
    # tokenizers raises plain Exception, whatever is wrong.
    except Exception as error:
        raise ModelFilesError(f"{path}: not a tokenizer ({error})") from error


def _converted(path: Path, files: ModelFiles) -> Tokenizer:
    from transformers import AutoConfig, AutoTokenizer

    options = {"local_files_only": True, "trust_remote_code": False}
    try:
        # The tokenizer's class stands in its own config, or follows from the model's.
        if not (path.parent / "tokenizer_config.json").is_file() and files.config:
            options["config"] = AutoConfig.from_pretrained(files.directory, **options)
        converted = AutoTokenizer.from_pretrained(path.parent, **options)
    # Conversion calls many libraries (sentencepiece, protobuf, tiktoken), each with own errors.
    except Exception as error:
        raise ModelFilesError(f"{path}: transformers cannot load it ({error})") from error
    backend = getattr(converted, "backend_tokenizer", None)
    if not isinstance(backend, Tokenizer):
        raise ModelFilesError(
            f"{path}: {type(converted).__name__} has no fast form; add a tokenizer.json"
        )
    return backend


def _pad_id(tokenizer: Tokenizer, files: ModelFiles) -> int:
    """Which token fills up a batch; attention never sees it, so any will do."""
    if files.pad_token_id is not None:
        return files.pad_token_id
    ids = (tokenizer.token_to_id(token) for token in _PAD_TOKENS)
    return next((found for found in ids if found is not None), 0)


def _frame(framed: Encoding, texts: Sequence[Encoding], uses_types: bool) -> Frame:
    """Read a template off a framed example, whose special tokens its mask tells."""
    special = framed.special_tokens_mask
    types = framed.type_ids if uses_types else [0] * len(framed.ids)
    segments: list[Segment] = []
    text_types: list[int] = []
    at = 0
    for text in [*texts, None]:
        start = at
        while at < len(special) and special[at]:
            at += 1
        segments.append(
            Segment(
                np.array(framed.ids[start:at], dtype=np.int32),
                np.array(types[start:at], dtype=np.uint8),
            )
        )
        if text is not None:
            text_types.append(types[at])
            at += len(text.ids)
    return Frame(tuple(segments), tuple(text_types))
