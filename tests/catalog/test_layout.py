from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rerank_server.catalog.layout import arrange
from rerank_server.errors import CatalogError

M3 = [
    ".gitattributes",
    "README.md",
    "assets/llama-index.png",
    "config.json",
    "model.safetensors",
    "pytorch_model.bin",
    "onnx/model.onnx",
    "sentencepiece.bpe.model",
    "special_tokens_map.json",
    "tokenizer.json",
    "tokenizer_config.json",
]


def test_loose_files_go_to_model_and_tokenizer_and_the_rest_is_left_out() -> None:
    assert arrange(M3) == {
        "README.md": "README.md",
        "config.json": "model/config.json",
        "model.safetensors": "model/model.safetensors",
        "sentencepiece.bpe.model": "tokenizer/sentencepiece.bpe.model",
        "special_tokens_map.json": "tokenizer/special_tokens_map.json",
        "tokenizer.json": "tokenizer/tokenizer.json",
        "tokenizer_config.json": "tokenizer/tokenizer_config.json",
    }


def test_a_folder_around_everything_is_seen_through() -> None:
    wrapped = [f"bge-reranker-v2-m3/{path}" for path in M3]

    assert arrange(["__MACOSX/._x", *wrapped]) == {
        f"bge-reranker-v2-m3/{path}": place for path, place in arrange(M3).items()
    }


def test_a_version_directory_keeps_its_structure() -> None:
    paths = [
        "model/config.json",
        "model/pytorch_model.bin",
        "model_cpu/model.onnx",
        "tokenizer/tokenizer.json",
        "rerank.py",
        "requirements.txt",
        "NOTICE",
    ]

    assert arrange(paths) == {path: path for path in paths}
    assert arrange([f"v2-gemma/{path}" for path in paths]) == {
        f"v2-gemma/{path}": path for path in paths
    }


def test_a_model_folder_alone_may_hold_the_tokenizer_too() -> None:
    paths = ["model/config.json", "model/model.safetensors", "model/tokenizer.json"]

    assert arrange(paths) == {path: path for path in paths}


def test_loose_weights_beside_a_model_folder_move_into_it() -> None:
    assert arrange(["model/config.json", "tokenizer.json", "model.safetensors"]) == {
        "model/config.json": "model/config.json",
        "tokenizer.json": "tokenizer/tokenizer.json",
        "model.safetensors": "model/model.safetensors",
    }


@pytest.mark.parametrize(
    ("weights", "taken"),
    [
        (
            [
                "model-00001-of-00002.safetensors",
                "model-00002-of-00002.safetensors",
                "model.safetensors.index.json",
                "pytorch_model-00001-of-00001.bin",
                "pytorch_model.bin.index.json",
            ],
            {
                "model-00001-of-00002.safetensors",
                "model-00002-of-00002.safetensors",
                "model.safetensors.index.json",
            },
        ),
        (["pytorch_model.bin", "tf_model.h5", "training_args.bin"], {"pytorch_model.bin"}),
        (["onnx/model.onnx", "onnx/model_quantized.onnx"], {"model.onnx"}),
    ],
)
def test_of_several_formats_the_best_is_taken_whole(weights: list[str], taken: set[str]) -> None:
    places = arrange([*weights, "tokenizer.json"])

    assert set(places.values()) == {f"model/{name}" for name in taken} | {
        "tokenizer/tokenizer.json"
    }


def test_code_and_pooling_settings_stay_with_the_model() -> None:
    paths = ["model.safetensors", "vocab.txt", "modeling_x.py", "tokenization_x.py"]
    paths += ["1_Pooling/config.json", "modules.json", "eval/results.json"]

    assert arrange(paths) == {
        "model.safetensors": "model/model.safetensors",
        "vocab.txt": "tokenizer/vocab.txt",
        "modeling_x.py": "model/modeling_x.py",
        "tokenization_x.py": "tokenizer/tokenization_x.py",
        "1_Pooling/config.json": "model/1_Pooling/config.json",
        "modules.json": "model/modules.json",
    }


@pytest.mark.parametrize(
    ("paths", "message"),
    [
        ([], "no weights"),
        (["config.json", "tokenizer.json"], "no weights"),
        (["model.safetensors", "config.json", "tokenizer_config.json"], "no tokenizer"),
        (["../model.safetensors"], "not a path inside"),
        (["/etc/passwd"], "not a path inside"),
        (["model/../../x"], "not a path inside"),
        (["a\\..\\x"], "not a path inside"),
        (["a\0b"], "not a path inside"),
    ],
)
def test_what_makes_no_version_is_refused(paths: list[str], message: str) -> None:
    with pytest.raises(CatalogError, match=message):
        arrange(paths)


_PART = st.sampled_from(["..", ".", "", "model", "tokenizer", "a", "tokenizer.json", "x.py", ".h"])


@given(paths=st.lists(st.lists(_PART, min_size=1, max_size=4).map("/".join)))
def test_no_place_ever_leads_out_of_the_version(paths: list[str]) -> None:
    try:
        places = arrange([*paths, "model.safetensors", "tokenizer.json"])
    except CatalogError:
        return

    for place in places.values():
        assert not place.startswith("/")
        assert not {"..", ".", ""} & set(place.split("/"))
