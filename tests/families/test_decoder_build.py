"""What a language model's config.json makes of its forward pass."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers

from rerank_workers.engines.decoder import LM_HEAD, Head, Plan, load_decoder
from rerank_workers.engines.files import ModelFiles, ModelFilesError, read_model_files
from rerank_workers.engines.torch_decoder_build import build, supports
from rerank_workers.engines.torch_weights import read_weights
from rerank_workers.families import yes_logit
from rerank_workers.scorer import Context
from tests.parity import grid, tiny_models

Find = Callable[[str], Path]


def changed(files: ModelFiles, **config: object) -> ModelFiles:
    return ModelFiles(files.directory, {**files.config, **config}, files.weights, files.onnx)


def files_of(find: Find, name: str) -> ModelFiles:
    return read_model_files(find(name) / "model")


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({}, True),
        ({"model_type": "llama"}, False),
        ({"rope_scaling": {"type": "linear", "factor": 2.0}}, False),
        ({"rope_parameters": {"rope_type": "yarn", "factor": 4.0}}, False),
        ({"rope_parameters": {"rope_type": "default", "rope_theta": 1e4}}, True),
        ({"hidden_act": "relu"}, False),
        ({"use_bidirectional_attention": True}, False),
        ({"pretraining_tp": 2}, False),
    ],
)
def test_only_what_is_known_is_run_by_our_own_code(
    tiny_llm: Find, config: dict[str, object], expected: bool
) -> None:
    assert supports(changed(files_of(tiny_llm, "qwen3"), **config)) is expected


@pytest.mark.parametrize(
    ("name", "config", "windows"),
    [
        ("gemma2-lightweight", {}, [24, None, 24, None, 24, None]),
        ("gemma2-lightweight", {"sliding_window": None}, [None] * 6),
        ("qwen3", {"sliding_window": 8}, [None] * 3),
        (
            "qwen3",
            {"sliding_window": 8, "use_sliding_window": True, "max_window_layers": 1},
            [None, 8, 8],
        ),
        (
            "qwen3",
            {
                "sliding_window": 8,
                "layer_types": ["sliding_attention", "full_attention", "full_attention"],
            },
            [8, None, None],
        ),
    ],
)
def test_layers_look_back_as_far_as_their_config_says(
    tiny_llm: Find, name: str, config: dict[str, object], windows: list[int | None]
) -> None:
    files = changed(files_of(tiny_llm, name), **config)

    decoder = build(files, read_weights(files), None)

    assert [layer.attention.window for layer in decoder.layers] == windows


@pytest.mark.parametrize(
    ("config", "base"),
    [
        ({"rope_theta": 500.0}, 500.0),
        ({"rope_theta": None, "rope_parameters": {"rope_theta": 700.0}}, 700.0),
    ],
)
def test_the_base_of_positions_is_found_in_old_and_new_configs(
    tiny_llm: Find, config: dict[str, object], base: float
) -> None:
    files = changed(files_of(tiny_llm, "qwen3"), **config)

    decoder = build(files, read_weights(files), None)

    assert decoder.frequencies[-1].item() == pytest.approx(base ** (-14 / 16))


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"num_hidden_layers": "3"}, "num_hidden_layers: '3'"),
        ({"rms_norm_eps": "small"}, "rms_norm_eps: 'small'"),
        ({"head_dim": None, "hidden_size": 0}, "hidden_size: 0"),
    ],
)
def test_a_number_that_is_none_is_named(
    tiny_llm: Find, config: dict[str, object], message: str
) -> None:
    files = changed(files_of(tiny_llm, "qwen3"), **config)

    with pytest.raises(ModelFilesError, match=message):
        build(files, read_weights(files), None)


def test_gemma_2_with_capped_attention_equals_transformers(tmp_path: Path) -> None:
    directory = tiny_models.build("gemma2-lightweight", tmp_path)
    path = directory / "model" / "config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    config |= {
        "architectures": ["Gemma2ForCausalLM"],
        "model_type": "gemma2",
        "tie_word_embeddings": True,
    }
    path.write_text(json.dumps(config), encoding="utf-8")
    context = Context("v2", directory, max_length=64, use_fp16=False)
    theirs = transformers.AutoModelForCausalLM.from_pretrained(
        directory / "model", attn_implementation="eager"
    )

    items = yes_logit.load(context).encode(grid.QUERIES[0], grid.DOCUMENTS)
    plan = Plan(Head(LM_HEAD, (7,)))
    ours = load_decoder(context, read_model_files(context.model_dir), plan).run(items)

    for item, score in zip(items, ours, strict=True):
        ids = torch.from_numpy(np.concatenate((item.prefix.ids, item.ids)).astype(np.int64))
        with torch.inference_mode():
            expected = theirs(input_ids=ids[None]).logits[0, -1, 7].item()
        assert score == pytest.approx(expected, abs=1e-4)


def test_another_architecture_runs_through_transformers(tmp_path: Path) -> None:
    directory = tiny_models.build("qwen2-mxbai", tmp_path)
    path = directory / "model" / "config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(
        json.dumps(config | {"rope_scaling": {"rope_type": "linear", "factor": 1.0}}),
        encoding="utf-8",
    )
    context = Context("v2", directory, max_length=64, use_fp16=False)
    files = read_model_files(context.model_dir)

    loaded = load_decoder(context, files, Plan(Head(LM_HEAD, (7,))))

    assert loaded.settings["forward"].startswith("transformers ")
    assert not loaded.shares_prefixes


def test_what_only_our_own_code_can_do_is_refused_for_others(tmp_path: Path) -> None:
    directory = tiny_models.build("minicpm-layerwise", tmp_path)
    path = directory / "model" / "config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(config | {"pretraining_tp": 2}), encoding="utf-8")
    context = Context("v2", directory)

    with pytest.raises(ModelFilesError, match="minicpm cannot be run this way"):
        load_decoder(
            context,
            read_model_files(context.model_dir),
            Plan(Head("lm_head.0.linear_head.weight"), depth=3),
        )
