"""LLM rerankers: scores that depend on the pair alone, cutoffs, and what is refused."""

from __future__ import annotations

import gc
import json
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
import torch

from rerank_workers import families
from rerank_workers.engines.decoder import LM_HEAD, Head, Plan, load_decoder
from rerank_workers.engines.files import ModelFilesError, read_model_files
from rerank_workers.engines.prompt import Prompt
from rerank_workers.engines.torch_auto_decoder import load_auto_decoder
from rerank_workers.engines.torch_compression import means
from rerank_workers.engines.torch_decoder_engine import KEPT_PREFIX_TOKENS, TorchDecoderEngine
from rerank_workers.families import layerwise, lightweight, yes_logit, yes_no
from rerank_workers.families.language_model import LanguageModel
from rerank_workers.scorer import Context
from tests.parity import grid, tiny_models

Find = Callable[[str], Path]
COMPRESSED = {"cutoff_layers": [5], "compress_ratio": 2, "compress_layers": [2, 4]}


def load(name: str, find: Find, **options: object) -> LanguageModel:
    length = 320 if name.startswith("qwen") else 64
    context = Context("v2", find(name), max_length=length, use_fp16=False)
    families_by_name: Mapping[str, Callable[..., LanguageModel]] = {
        "gemma": yes_logit.load,
        "minicpm-layerwise": layerwise.load,
        "gemma2-lightweight": lightweight.load,
    }
    return families_by_name.get(name, yes_no.load)(context, **options)


ALL: list[tuple[str, Mapping[str, object]]] = [
    ("gemma", {}),
    ("minicpm-layerwise", {"cutoff_layers": [4]}),
    ("gemma2-lightweight", {}),
    ("gemma2-lightweight", COMPRESSED),
    ("qwen3", {}),
    ("qwen3-seq-cls", {}),
    ("qwen2-mxbai", {}),
]


@pytest.mark.parametrize(("name", "options"), ALL)
def test_a_score_does_not_depend_on_its_neighbours(
    tiny_llm: Find, name: str, options: Mapping[str, object]
) -> None:
    scorer = load(name, tiny_llm, **options)
    items = [item for query in grid.QUERIES for item in scorer.encode(query, grid.DOCUMENTS)]
    alone = [scorer.score([item])[0] for item in items]

    order = np.random.default_rng(5).permutation(len(items)).tolist()
    for size in (3, 16):
        for start in range(0, len(order), size):
            batch = order[start : start + size]
            scores = scorer.score([items[index] for index in batch])

            np.testing.assert_allclose(scores, [alone[i] for i in batch], atol=1e-5, rtol=0)


@pytest.mark.parametrize(("name", "options"), ALL)
def test_a_shared_prefix_changes_no_score(
    tiny_llm: Find, name: str, options: Mapping[str, object]
) -> None:
    scorer = load(name, tiny_llm, **options)
    query = grid.QUERIES[0]

    together = scorer.encode(query, grid.DOCUMENTS)
    separate = [item for doc in grid.DOCUMENTS for item in scorer.encode(query, [doc])]

    assert len(together[0].prefix) > 10
    assert not any(len(item.prefix) for item in separate)
    assert [item.tokens for item in together] == [item.tokens for item in separate]
    np.testing.assert_allclose(scorer.score(together), scorer.score(separate), atol=1e-5, rtol=0)


@pytest.fixture
def engine(tiny_llm: Find) -> TorchDecoderEngine:
    context = Context("v2", tiny_llm("gemma"), use_fp16=False)
    loaded = load_decoder(context, read_model_files(context.model_dir), Plan(Head(LM_HEAD)))
    assert isinstance(loaded, TorchDecoderEngine)
    return loaded


def test_prefixes_are_kept_while_their_request_lives(
    tiny_llm: Find, engine: TorchDecoderEngine
) -> None:
    items = load("gemma", tiny_llm).encode("jet", ["comet", "boeing"])

    engine.run(items[:1])
    assert engine.prefixes == 1
    engine.run(items[1:])
    assert engine.prefixes == 1

    del items
    gc.collect()
    assert engine.prefixes == 0


def test_no_more_prefixes_are_kept_than_allowed(tiny_llm: Find, engine: TorchDecoderEngine) -> None:
    scorer = load("gemma", tiny_llm)
    requests = [scorer.encode(f"jet {n} " * 9, ["comet", "boeing"]) for n in range(60)]
    size = len(requests[0][0].prefix)

    for items in requests:
        engine.run(items)

    assert 0 < engine.prefixes <= KEPT_PREFIX_TOKENS // size


def test_a_cutoff_loads_only_the_layers_below_it(tiny_llm: Find) -> None:
    whole, cut = (
        load("minicpm-layerwise", tiny_llm),
        load("minicpm-layerwise", tiny_llm, cutoff_layers=[3]),
    )

    assert (whole.info["layers"], cut.info["layers"]) == ("6", "3")
    assert (whole.info["cutoff_layer"], cut.info["cutoff_layer"]) == ("6", "3")


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ([1], "no head behind layer 1; there are heads behind 2 to 6"),
        ([7], "no head behind layer 7"),
        ([3, 5], r"must name one layer, not \[3, 5\]"),
        ([], "must name one layer"),
    ],
)
def test_a_cutoff_without_one_head_is_refused(
    tiny_llm: Find, layers: list[int], message: str
) -> None:
    with pytest.raises(ModelFilesError, match=message):
        load("minicpm-layerwise", tiny_llm, cutoff_layers=layers)


def test_a_ratio_the_reference_does_not_have_is_refused(tiny_llm: Find) -> None:
    with pytest.raises(ModelFilesError, match="COMPRESS_RATIO is 1, 2, 4 or 8, not 3"):
        load("gemma2-lightweight", tiny_llm, compress_ratio=3)


def test_the_head_of_the_layer_and_capped_attention_can_be_asked_for(tiny_llm: Find) -> None:
    plain = load("gemma2-lightweight", tiny_llm, cutoff_layers=[4])
    own = load("gemma2-lightweight", tiny_llm, cutoff_layers=[4], own_head=True)
    capped = load("gemma2-lightweight", tiny_llm, cutoff_layers=[4], attention_softcap=True)

    scores = [scorer.score(scorer.encode("jet", ["comet"]))[0] for scorer in (plain, own, capped)]
    assert len({round(score, 3) for score in scores}) == 3
    assert (plain.info["head"], own.info["head"]) == ("0", "2")
    assert (plain.info["attention"], capped.info["attention"]) == ("sdpa", "capped")


def test_no_documents_give_no_items(tiny_llm: Find) -> None:
    assert load("gemma", tiny_llm).encode("jet", []) == []


def test_unit_scores_are_sigmoids(tiny_llm: Find) -> None:
    assert load("gemma", tiny_llm).to_unit([0.0, 2.0]) == pytest.approx([0.5, 0.8807970780])


@pytest.mark.parametrize(
    ("name", "family"),
    [
        ("gemma", "yes_logit"),
        ("minicpm-layerwise", "layerwise"),
        ("gemma2-lightweight", "lightweight"),
        ("qwen3", "yes_no"),
        ("qwen3-seq-cls", "yes_no"),
        ("qwen2-mxbai", "yes_no"),
    ],
)
def test_the_family_is_told_from_the_models_own_files(
    tiny_llm: Find, name: str, family: str
) -> None:
    info = families.load(Context("v2", tiny_llm(name), use_fp16=False)).info

    assert info["family"] == family
    assert info["forward"] == "rerank_workers"
    assert info["model_files"] == "model/model.safetensors"


def test_an_unknown_prompt_an_unknown_engine_and_a_graph_are_refused(tiny_llm: Find) -> None:
    with pytest.raises(ModelFilesError, match="no prompt 'llama'; there are qwen3, mxbai"):
        load("qwen3", tiny_llm, prompt="llama")
    with pytest.raises(ModelFilesError, match="no engine 'onnx' for language models"):
        load("qwen3", tiny_llm, engine="onnx")


def test_a_missing_tensor_is_named(tmp_path: Path) -> None:
    directory = tiny_models.build("gemma", tmp_path)
    config = directory / "model" / "config.json"
    content = json.loads(config.read_text(encoding="utf-8"))
    config.write_text(json.dumps({**content, "num_hidden_layers": 4}), encoding="utf-8")

    with pytest.raises(ModelFilesError, match=r"'model\.layers\.3\.input_layernorm\.weight' is m"):
        families.load(Context("v2", directory))


def test_a_tokenizer_of_another_model_is_noticed(tiny_llm: Find) -> None:
    context = Context("v2", tiny_llm("gemma"), use_fp16=False)

    with pytest.raises(ModelFilesError, match="has no row 9999; does the tokenizer belong"):
        load_decoder(context, read_model_files(context.model_dir), Plan(Head(LM_HEAD, (9999,))))


@pytest.mark.parametrize("name", ["qwen2-mxbai", "qwen3", "gemma"])
def test_transformers_computes_the_same_numbers(tiny_llm: Find, name: str) -> None:
    scorer = load(name, tiny_llm)
    context = Context("v2", tiny_llm(name), use_fp16=False)
    files = read_model_files(context.model_dir)
    plan = Plan(Head(LM_HEAD, (5, 9), (1.0, -1.0)))
    items: list[Prompt] = scorer.encode(grid.QUERIES[0], grid.DOCUMENTS)

    ours = load_decoder(context, files, plan).run(items)
    theirs = load_auto_decoder(context, files, plan).run(items)

    np.testing.assert_allclose(ours, theirs, atol=1e-4, rtol=0)


@pytest.mark.parametrize("ratio", [2, 4, 8])
@pytest.mark.parametrize("tokens", [0, 1, 7, 8, 9])
def test_neighbours_become_their_mean(ratio: int, tokens: int) -> None:
    x = torch.arange(tokens * 3, dtype=torch.float32).reshape(tokens, 3)

    merged = means(x, ratio)

    groups = [x[start : start + ratio].mean(dim=0) for start in range(0, tokens, ratio)]
    torch.testing.assert_close(merged, torch.stack(groups) if groups else x)


def changed(directory: Path, file: str, **values: object) -> None:
    path = directory / "model" / file
    content = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**content, **values}), encoding="utf-8")


def test_a_first_token_that_also_pads_is_left_out_where_the_reference_does(tmp_path: Path) -> None:
    directory = tiny_models.build("gemma", tmp_path)
    changed(directory, "tokenizer_config.json", pad_token="<bos>")

    (item,) = yes_logit.load(Context("v2", directory)).encode("jet", ["comet"])

    assert item.ids[0] != 2


def test_prompts_that_need_a_first_token_say_so(tmp_path: Path) -> None:
    directory = tiny_models.build("minicpm-layerwise", tmp_path)
    changed(directory, "tokenizer_config.json", bos_token=None)

    with pytest.raises(ModelFilesError, match="the tokenizer has no bos_token"):
        layerwise.load(Context("v2", directory))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"head_type": "complex"}, "head_type 'complex'; only 'simple' is known"),
        ({"start_layer": "2"}, "start_layer and layer_sep are numbers"),
        (
            {"num_hidden_layers": 6, "start_layer": 1},
            r"lm_head\.5\.linear_head\.weight' is missing",
        ),
    ],
)
def test_heads_that_are_not_there_are_named(
    tmp_path: Path, values: dict[str, object], message: str
) -> None:
    directory = tiny_models.build("minicpm-layerwise", tmp_path)
    changed(directory, "config.json", **values)

    with pytest.raises(ModelFilesError, match=message):
        layerwise.load(Context("v2", directory))


def test_a_conversion_to_classification_reads_its_own_head(tmp_path: Path) -> None:
    directory = tiny_models.build("gemma", tmp_path)
    changed(directory, "config.json", architectures=["GemmaForSequenceClassification"])

    with pytest.raises(ModelFilesError, match=r"the tensor 'score\.weight' is missing"):
        families.load(Context("v2", directory))


def test_a_folder_with_a_graph_alone_is_no_language_model(tmp_path: Path) -> None:
    directory = tiny_models.build("gemma", tmp_path)
    weights = directory / "model" / "model.safetensors"
    weights.rename(weights.with_name("model.onnx"))

    with pytest.raises(ModelFilesError, match="no weights for the torch engine"):
        families.load(Context("v2", directory))
