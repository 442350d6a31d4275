"""Weights in every form a model folder may have, and the errors for those that cannot be run."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from rerank_workers.engines.batch import Row
from rerank_workers.engines.engine import Output, load_engine
from rerank_workers.engines.files import ModelFilesError, read_model_files
from rerank_workers.engines.torch_device import choose_dtype
from rerank_workers.engines.torch_engine import TorchEngine
from rerank_workers.families import cross_encoder
from rerank_workers.scorer import Context, DeviceMemoryError

from . import reference, tiny

DOCS = ("the jet", "comet", "")


def scores(directory: Path, engine: str = "auto") -> list[float]:
    scorer = cross_encoder.load(Context("v1", directory), engine=engine)
    return scorer.score(scorer.encode("jet", DOCS))


@pytest.fixture
def version(bert: Path, tmp_path: Path) -> Path:
    """A copy to change."""
    return Path(shutil.copytree(bert, tmp_path / "version"))


def change_config(version: Path, **values: object) -> None:
    path = version / "model" / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}), encoding="utf-8")


def to_bin(version: Path) -> Path:
    weights = version / "model" / "model.safetensors"
    path = version / "model" / "pytorch_model.bin"
    torch.save(load_file(weights), path)
    weights.unlink()
    return path


def test_bin_weights_score_as_safetensors(bert: Path, version: Path) -> None:
    to_bin(version)

    assert scores(version) == scores(bert)


def test_bin_weights_of_old_torch_score_the_same(bert: Path, version: Path) -> None:
    tensors = load_file(version / "model" / "model.safetensors")
    path = to_bin(version)
    torch.save(tensors, path, _use_new_zipfile_serialization=False)

    assert scores(version) == scores(bert)


def test_sharded_weights_score_the_same(bert: Path, version: Path) -> None:
    model = version / "model"
    tensors = load_file(model / "model.safetensors")
    (model / "model.safetensors").unlink()
    shards = {name: f"model-{len(name) % 2}.safetensors" for name in tensors}
    for shard in set(shards.values()):
        save_file({n: t for n, t in tensors.items() if shards[n] == shard}, model / shard)
    index = model / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": shards}), encoding="utf-8")

    assert scores(version) == scores(bert)


def test_weights_with_the_old_layer_norm_names_score_the_same(bert: Path, version: Path) -> None:
    path = version / "model" / "model.safetensors"
    tensors = load_file(path)
    old = {
        name.replace("LayerNorm.weight", "LayerNorm.gamma").replace(
            "LayerNorm.bias", "LayerNorm.beta"
        ): tensor
        for name, tensor in tensors.items()
    }
    save_file(old, path)

    assert scores(version) == scores(bert)


def test_half_precision_weights_are_computed_in_float32_on_a_cpu(version: Path) -> None:
    path = version / "model" / "model.safetensors"
    save_file({name: t.half() for name, t in load_file(path).items()}, path, {"format": "pt"})

    raw = scores(version)

    assert raw == pytest.approx(reference.pair_logits(version, "jet", DOCS, 128), abs=1e-5)


@pytest.mark.parametrize("use_fp16", [True, False])
def test_a_cpu_computes_in_float32(use_fp16: bool) -> None:
    assert choose_dtype(torch.device("cpu"), use_fp16) is torch.float32


def test_a_gpu_computes_in_float16_unless_told_not_to() -> None:
    assert choose_dtype(torch.device("cuda:0"), True) is torch.float16
    assert choose_dtype(torch.device("cuda:0"), False) is torch.float32


def test_an_architecture_without_an_own_forward_runs_through_transformers(tmp_path: Path) -> None:
    tiny.torch_version(tmp_path, "ElectraForSequenceClassification", embedding_size=32)
    scorer = cross_encoder.load(Context("v1", tmp_path))

    raw = scorer.score(scorer.encode("jet", tiny.GRID))

    expected = reference.pair_logits(tmp_path, "jet", tiny.GRID, 128)
    assert raw == pytest.approx(expected, abs=1e-5)
    assert scorer.info["forward"].startswith("transformers ")


def test_transformers_does_not_invent_a_missing_head(tmp_path: Path) -> None:
    tiny.torch_version(tmp_path, "ElectraForSequenceClassification")
    path = tmp_path / "model" / "model.safetensors"
    headless = {n: t for n, t in load_file(path).items() if n != "classifier.out_proj.weight"}
    save_file(headless, path, {"format": "pt"})

    with pytest.raises(ModelFilesError, match=r"'classifier\.out_proj\.weight' is missing"):
        scores(tmp_path)


def test_two_labels_are_refused_through_transformers_too(tmp_path: Path) -> None:
    tiny.torch_version(tmp_path, "ElectraForSequenceClassification", num_labels=2)

    with pytest.raises(ModelFilesError, match="the model has 2 labels; a reranker has one"):
        scores(tmp_path)


@pytest.mark.parametrize("act", ["gelu_new", "relu", "silu"])
def test_other_activations_equal_the_reference(tmp_path: Path, act: str) -> None:
    tiny.torch_version(tmp_path, "BertForSequenceClassification", hidden_act=act)

    raw = scores(tmp_path)

    assert raw == pytest.approx(reference.pair_logits(tmp_path, "jet", DOCS, 128), abs=1e-5)


class _Code:
    """Runs when unpickled."""

    def __reduce__(self) -> tuple[Callable[[str], object], tuple[str]]:
        return print, ("this must never be printed",)


def break_pickle(version: Path) -> None:
    torch.save({"classifier.weight": _Code()}, to_bin(version))


def cut_bin(version: Path) -> None:
    path = to_bin(version)
    path.write_bytes(path.read_bytes()[:5000])


def break_safetensors(version: Path) -> None:
    path = version / "model" / "model.safetensors"
    path.write_bytes(path.read_bytes()[:5000])


def drop_classifier(version: Path) -> None:
    path = version / "model" / "model.safetensors"
    save_file({n: t for n, t in load_file(path).items() if n != "classifier.weight"}, path)


def add_label(version: Path) -> None:
    path = version / "model" / "model.safetensors"
    tensors = load_file(path)
    save_file({**tensors, "classifier.weight": torch.zeros(2, 32)}, path)


def drop_model(version: Path) -> None:
    (version / "model" / "model.safetensors").unlink()


def drop_tokenizer(version: Path) -> None:
    (version / "tokenizer" / "tokenizer.json").unlink()


def break_tokenizer(version: Path) -> None:
    (version / "tokenizer" / "tokenizer.json").write_text("{}", encoding="utf-8")


def break_config(version: Path) -> None:
    (version / "model" / "config.json").write_text("{", encoding="utf-8")


def drop_shard(version: Path) -> None:
    drop_model(version)
    index = version / "model" / "model.safetensors.index.json"
    index.write_text('{"weight_map": {"x": "model-1.safetensors"}}', encoding="utf-8")


def unknown_architecture(version: Path) -> None:
    change_config(version, model_type="no-such-model")


@pytest.mark.parametrize(
    ("breakage", "message"),
    [
        (break_pickle, "pytorch_model.bin: damaged, or holds more than tensors"),
        (cut_bin, "pytorch_model.bin: damaged"),
        (break_safetensors, "model.safetensors: damaged"),
        (drop_classifier, "the tensor 'classifier.weight' is missing"),
        (add_label, "the model has 2 labels; a reranker has one"),
        (drop_model, "version/model: no model files"),
        (drop_tokenizer, "version/tokenizer: no tokenizer"),
        (break_tokenizer, "tokenizer.json: not a tokenizer"),
        (break_config, "config.json: not valid JSON"),
        (drop_shard, "model-1.safetensors: missing"),
        (unknown_architecture, "version/model: transformers cannot load it"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_files_that_cannot_be_run_are_named(
    version: Path, breakage: Callable[[Path], None], message: str, capfd: pytest.CaptureFixture[str]
) -> None:
    breakage(version)

    with pytest.raises(ModelFilesError, match=message):
        scores(version)

    assert "must never be printed" not in capfd.readouterr().out


@pytest.mark.parametrize(
    ("engine", "message"), [("onnx", "no model.onnx"), ("tensorflow", "no engine 'tensorflow'")]
)
def test_an_engine_without_files_is_refused(bert: Path, engine: str, message: str) -> None:
    with pytest.raises(ModelFilesError, match=message):
        load_engine(Context("v1", bert), read_model_files(bert / "model"), Output.LOGIT, engine)


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
        MemoryError(),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_batch_that_does_not_fit_is_a_device_memory_error(error: Exception) -> None:
    engine = TorchEngine(Raising(error), torch.device("cpu"), {})

    with pytest.raises(DeviceMemoryError, match="a batch of 1 rows"):
        engine.logits([_row()])


def test_another_error_of_the_model_is_passed_on() -> None:
    engine = TorchEngine(Raising(RuntimeError("shapes differ")), torch.device("cpu"), {})

    with pytest.raises(RuntimeError, match="shapes differ"):
        engine.logits([_row()])


class Raising:
    """A model that fails."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def logits(self, rows: Sequence[Row]) -> torch.Tensor:
        raise self._error

    def states(self, rows: Sequence[Row]) -> list[torch.Tensor]:
        raise self._error


def _row() -> Row:
    return Row(ids=np.array([2, 3], dtype=np.int32), types=np.array([0, 0], dtype=np.uint8))
