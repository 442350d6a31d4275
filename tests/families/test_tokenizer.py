"""Tokenizers: loaded from either kind of file, free of the padding and cutting stored in them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from rerank_workers.engines.files import ModelFiles, ModelFilesError
from rerank_workers.families.tokenizer import load_tokenizer

from . import tiny

NO_MODEL = ModelFiles(Path("model"), {}, (), None)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a BERT tokenizer.json."""
    tiny.bert_tokenizer().save(str(tmp_path / "tokenizer.json"))
    return tmp_path


def write_slow_files(folder: Path) -> None:
    tokens = sorted(tiny.bert_tokenizer().get_vocab().items(), key=lambda item: item[1])
    vocabulary = "\n".join(token for token, _ in tokens)
    (folder / "vocab.txt").write_text(vocabulary, encoding="utf-8")


def test_stored_padding_and_truncation_are_ignored(folder: Path) -> None:
    tokenizer = load_tokenizer(folder, NO_MODEL)

    lengths = [len(ids) for ids in tokenizer.ids(["jet", "jet " * 1000, ""])]

    assert lengths == [1, 1000, 0]


def test_special_tokens_written_in_a_text_are_taken_as_such(folder: Path) -> None:
    (ids,) = load_tokenizer(folder, NO_MODEL).ids(["[SEP]"])

    assert ids == [3]  # as transformers does


@pytest.mark.parametrize("where", ["tokenizer_config", "model_config"])
def test_a_vocabulary_alone_gives_the_same_tokens(tmp_path: Path, where: str) -> None:
    write_slow_files(tmp_path)
    model = tmp_path / "model"
    model.mkdir()
    config = {"model_type": "bert"}
    if where == "tokenizer_config":
        path = tmp_path / "tokenizer_config.json"
        path.write_text(json.dumps({"tokenizer_class": "BertTokenizer"}), encoding="utf-8")
    (model / "config.json").write_text(json.dumps(config), encoding="utf-8")
    fast = tiny.bert_tokenizer()
    fast.no_truncation()
    fast.no_padding()

    tokenizer = load_tokenizer(tmp_path, ModelFiles(model, config, (), None))

    texts = [text for text in tiny.GRID if "[" not in text]
    expected = [fast.encode(text, add_special_tokens=False).ids for text in texts]
    assert tokenizer.ids(texts) == expected
    assert tokenizer.pair.row([9], [8]).ids.tolist() == [2, 9, 3, 8, 3]
    assert tokenizer.file.endswith("/vocab.txt")


def test_token_types_are_dropped_where_the_model_takes_none(folder: Path) -> None:
    names = {"model_input_names": ["input_ids", "attention_mask"]}
    (folder / "tokenizer_config.json").write_text(json.dumps(names), encoding="utf-8")

    row = load_tokenizer(folder, NO_MODEL).pair.row([9], [8])

    assert row.types.tolist() == [0, 0, 0, 0, 0]


def test_one_text_is_framed_by_the_template(folder: Path) -> None:
    row = load_tokenizer(folder, NO_MODEL).single.row([9, 8])

    assert row.ids.tolist() == [2, 9, 8, 3]


def test_a_folder_without_a_tokenizer_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelFilesError, match=f"{tmp_path}: no tokenizer"):
        load_tokenizer(tmp_path, NO_MODEL)


def test_slow_files_nothing_can_read_are_named(tmp_path: Path) -> None:
    (tmp_path / "sentencepiece.bpe.model").write_bytes(b"not sentencepiece")

    with pytest.raises(ModelFilesError, match=r"bpe\.model: transformers cannot load"):
        load_tokenizer(tmp_path, NO_MODEL)
