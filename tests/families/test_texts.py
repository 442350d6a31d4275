"""Bi-encoders and late interaction: vectors, cosines, and a query that is encoded once."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

from rerank_workers.engines.batch import Floats, Row
from rerank_workers.engines.files import ModelFiles, ModelFilesError
from rerank_workers.families import bi_encoder, late_interaction
from rerank_workers.families.texts import TextEncoder
from rerank_workers.families.tokenizer import load_tokenizer
from rerank_workers.scorer import Context, Scorer

from . import reference, tiny

DOCS = tuple(text for text in tiny.GRID if text.strip())


def raw(scorer: Scorer, query: str, docs: Sequence[str]) -> Sequence[float]:
    return scorer.score(scorer.encode(query, docs))


def unit(vectors: Floats) -> Floats:
    scaled: Floats = vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)
    return scaled


def test_a_bi_encoders_score_is_the_cosine_of_first_states(plain_bert: Path) -> None:
    scorer = bi_encoder.load(Context("v1", plain_bert, threads=2), query_instruction="what ")
    first = unit(reference.last_states(plain_bert, "what jet")[0].numpy())

    scores = raw(scorer, "jet", tiny.GRID)

    docs = [unit(reference.last_states(plain_bert, doc)[0].numpy()) for doc in tiny.GRID]
    np.testing.assert_allclose(scores, [first @ doc for doc in docs], atol=1e-5)


def test_mean_pooling_averages_the_real_tokens(plain_bert: Path) -> None:
    scorer = bi_encoder.load(Context("v1", plain_bert), query_instruction="", pooling="mean")
    query = unit(reference.last_states(plain_bert, "jet").mean(dim=0).numpy())

    scores = raw(scorer, "jet", tiny.GRID)

    docs = [unit(reference.last_states(plain_bert, doc).mean(dim=0).numpy()) for doc in tiny.GRID]
    np.testing.assert_allclose(scores, [query @ doc for doc in docs], atol=1e-5)


def test_late_interaction_is_the_mean_of_best_matches_without_special_tokens(
    plain_bert: Path,
) -> None:
    scorer = late_interaction.load(Context("v1", plain_bert, threads=2))
    query = torch.nn.functional.normalize(reference.last_states(plain_bert, "which jet?")[1:-1])

    scores = raw(scorer, "which jet?", DOCS)

    for score, doc in zip(scores, DOCS, strict=True):
        tokens = torch.nn.functional.normalize(reference.last_states(plain_bert, doc)[1:-1])
        best = (query @ tokens.T).max(dim=1).values
        assert score == pytest.approx(best.mean().item(), abs=1e-5)


def test_an_encoder_without_an_own_forward_runs_through_transformers(tmp_path: Path) -> None:
    tiny.torch_version(tmp_path, "ElectraModel", embedding_size=32)
    scorer = bi_encoder.load(Context("v1", tmp_path), query_instruction="")

    scores = raw(scorer, "jet", ("comet", "the jet"))

    query, *docs = (
        unit(reference.last_states(tmp_path, text)[0].numpy())
        for text in ("jet", "comet", "the jet")
    )
    np.testing.assert_allclose(scores, [query @ doc for doc in docs], atol=1e-5)


@pytest.mark.parametrize("module", [bi_encoder, late_interaction])
def test_scores_do_not_depend_on_neighbours_or_strangers(
    plain_bert: Path, module: ModuleType
) -> None:
    scorer = module.load(Context("v1", plain_bert, threads=2))
    items = [item for query in tiny.QUERIES for item in scorer.encode(query, tiny.GRID)]

    mixed = scorer.score(items)

    alone = [scorer.score(scorer.encode(q, [doc]))[0] for q in tiny.QUERIES for doc in tiny.GRID]
    np.testing.assert_allclose(mixed, alone, atol=1e-5)


def test_a_bi_encoder_over_onnx_compares_looked_up_vectors(tmp_path: Path) -> None:
    tiny.onnx_version(tmp_path, hidden=True)
    scorer = bi_encoder.load(Context("v1", tmp_path), query_instruction="")

    scores = raw(scorer, "jet", ["comet", "boeing"])

    assert scores == pytest.approx([1.0, 1.0])  # every first token is [CLS], the same vector


def test_late_interaction_over_onnx_finds_the_equal_token(tmp_path: Path) -> None:
    table = unit(tiny.onnx_version(tmp_path, hidden=True))
    scorer = late_interaction.load(Context("v1", tmp_path))
    jet, comet, boeing = tiny.bert_tokenizer().encode("jet comet boeing").ids[1:4]

    scores = raw(scorer, "jet comet", ["the comet jet", "boeing", ""])

    query, other = table[[jet, comet]], table[boeing]
    assert scores == pytest.approx([1.0, (query @ other).mean(), -1.0], abs=1e-6)


@dataclass
class CountingEngine:
    """Gives every token the state [1, id]; remembers the lengths of the rows it ran."""

    runs: list[list[int]] = field(default_factory=list)
    mixes_requests: bool = True
    settings: dict[str, str] = field(default_factory=dict)

    def logits(self, rows: Sequence[Row]) -> Floats:
        raise AssertionError("loaded for states")

    def states(self, rows: Sequence[Row]) -> list[Floats]:
        self.runs.append([len(row) for row in rows])
        return [
            np.stack([np.ones_like(row.ids), row.ids], axis=-1).astype(np.float32) for row in rows
        ]


def test_a_query_is_run_once_per_request(plain_bert: Path) -> None:
    engine = CountingEngine()
    files = ModelFiles(plain_bert / "model", {}, (), None)
    encoder = TextEncoder(load_tokenizer(plain_bert / "tokenizer", files), engine, 32)
    items = encoder.encode("the jet", ["comet", "comet the jet", "boeing"])

    encoder.states(items[:2])
    encoder.states(items[2:])

    assert engine.runs == [[4], [3, 5], [3]]


def test_states_hold_no_padding(plain_bert: Path) -> None:
    files = ModelFiles(plain_bert / "model", {}, (), None)
    encoder = TextEncoder(load_tokenizer(plain_bert / "tokenizer", files), CountingEngine(), 32)

    states = encoder.states(encoder.encode("the jet", ["", "comet the jet " * 50]))

    assert [(len(query), len(doc)) for query, doc in states] == [(4, 2), (4, 32)]


def test_truncated_and_tokens_are_the_documents(plain_bert: Path) -> None:
    scorer = bi_encoder.load(Context("v1", plain_bert, max_length=16))

    items = scorer.encode("what " * 100, ["jet " * 14, "jet " * 15, ""])

    assert [(item.tokens, item.truncated) for item in items] == [
        (16, False),
        (16, True),
        (2, False),
    ]


def test_no_documents_give_no_items(plain_bert: Path) -> None:
    assert late_interaction.load(Context("v1", plain_bert)).encode("jet", []) == []


@pytest.mark.parametrize(
    ("files", "config", "instruction"),
    [
        ({}, {"_name_or_path": "/cache/BAAI_bge-small-en/"}, bi_encoder.BGE_EN),
        ({}, {"_name_or_path": "BAAI/bge-base-zh-v1.5"}, bi_encoder.BGE_ZH),
        ({}, {"_name_or_path": "BAAI/bge-m3"}, ""),
        ({}, {"_name_or_path": "intfloat/e5"}, ""),
        ({}, {}, ""),
        ({"config_sentence_transformers.json": {"prompts": {"query": "query: "}}}, {}, "query: "),
    ],
)
def test_the_instruction_is_read_from_the_models_files(
    tmp_path: Path, files: dict[str, object], config: dict[str, object], instruction: str
) -> None:
    for name, content in files.items():
        (tmp_path / name).write_text(json.dumps(content), encoding="utf-8")

    assert bi_encoder.own_instruction(ModelFiles(tmp_path, config, (), None)) == instruction


@pytest.mark.parametrize(
    ("modes", "pooling"),
    [
        ({}, "cls"),
        ({"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}, "cls"),
        ({"pooling_mode_cls_token": False, "pooling_mode_mean_tokens": True}, "mean"),
    ],
)
def test_the_pooling_is_read_from_the_models_files(
    tmp_path: Path, modes: dict[str, bool], pooling: str
) -> None:
    (tmp_path / "1_Pooling").mkdir()
    (tmp_path / "1_Pooling" / "config.json").write_text(json.dumps(modes), encoding="utf-8")

    assert bi_encoder.own_pooling(ModelFiles(tmp_path, {}, (), None)) == pooling


def test_an_unknown_pooling_is_refused(tmp_path: Path) -> None:
    (tmp_path / "1_Pooling").mkdir()
    modes = '{"pooling_mode_max_tokens": true}'
    (tmp_path / "1_Pooling" / "config.json").write_text(modes, encoding="utf-8")

    with pytest.raises(ModelFilesError, match="pooling_mode_max_tokens is not known"):
        bi_encoder.own_pooling(ModelFiles(tmp_path, {}, (), None))


def test_a_dense_layer_after_the_pooling_is_refused(tmp_path: Path) -> None:
    tiny.onnx_version(tmp_path, hidden=True)
    modules = '[{"type": "sentence_transformers.models.Dense"}]'
    (tmp_path / "model" / "modules.json").write_text(modules, encoding="utf-8")

    with pytest.raises(ModelFilesError, match=r"modules\.json: a dense layer"):
        bi_encoder.load(Context("v1", tmp_path))


def test_a_misspelt_pooling_is_refused(tmp_path: Path) -> None:
    tiny.onnx_version(tmp_path, hidden=True)

    with pytest.raises(ModelFilesError, match="no pooling 'max'"):
        bi_encoder.load(Context("v1", tmp_path), pooling="max")
