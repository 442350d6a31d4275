"""What LLM rerankers are given to read, token by token."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from rerank_workers.engines.files import ModelFilesError, read_model_files
from rerank_workers.families.bge_prompt import QUESTION, BgePrompt, Wording
from rerank_workers.families.chat_prompts import MxbaiPrompt, Qwen3Prompt
from rerank_workers.families.language_model import Written, share_prefix, special_id
from rerank_workers.families.tokenizer import TextTokenizer
from rerank_workers.scorer import Context
from tests.parity import tiny_models, tiny_tokenizers

LONG = "jet comet " * 200


@pytest.fixture(scope="module")
def gemma() -> TextTokenizer:
    return TextTokenizer(tiny_tokenizers.gemma(), pad_id=0, uses_types=False, file="gemma")


@pytest.fixture(scope="module")
def qwen() -> TextTokenizer:
    return TextTokenizer(tiny_tokenizers.qwen(), pad_id=0, uses_types=False, file="qwen")


def ids(tokenizer: TextTokenizer, *texts: str) -> list[int]:
    return [number for part in tokenizer.ids(texts) for number in part]


def test_bge_asks_its_question_behind_query_and_passage(gemma: TextTokenizer) -> None:
    (written,) = BgePrompt(gemma, Wording(), 2, 512)("jet", ["comet"])

    assert written.ids.tolist() == [2, *ids(gemma, "A: jet", "\n", "B: comet", "\n", QUESTION)]
    start, stop = written.passage
    assert written.ids[start:stop].tolist() == ids(gemma, "B: comet")
    assert not written.truncated


def test_without_a_first_token_bge_begins_with_the_query(gemma: TextTokenizer) -> None:
    (written,) = BgePrompt(gemma, Wording(), None, 512)("jet", ["comet"])

    assert written.ids[:2].tolist() == ids(gemma, "A: jet")[:2]


@pytest.mark.parametrize("length", [4, 16, 33, 100])
def test_bge_cuts_query_and_passage_but_never_the_question(
    gemma: TextTokenizer, length: int
) -> None:
    write = BgePrompt(gemma, Wording(), 2, length)

    (written,) = write(LONG, [LONG])

    tail = ids(gemma, "\n", QUESTION)
    assert written.ids[-len(tail) :].tolist() == tail
    start, stop = written.passage
    assert start == 1 + length * 3 // 4 + len(ids(gemma, "\n"))
    # The reference lets query and passage have the room of one more question.
    assert stop - start == min(length, length + len(tail) - start)
    assert stop == len(written.ids) - len(tail)
    assert written.truncated


def test_a_passage_alone_is_cut_to_max_length(gemma: TextTokenizer) -> None:
    (written,) = BgePrompt(gemma, Wording(query_instruction=""), None, 40)("", [LONG])

    start, stop = written.passage
    assert stop - start == 40
    assert written.truncated


def test_the_fixed_texts_can_be_changed(gemma: TextTokenizer) -> None:
    (written,) = BgePrompt(gemma, Wording("Q: ", "P: ", "Yes?"), 2, 512)("jet", ["comet"])

    assert written.ids.tolist() == [2, *ids(gemma, "Q: jet", "\n", "P: comet", "\n", "Yes?")]


def test_qwen3_is_asked_in_one_text_between_fixed_ends(qwen: TextTokenizer) -> None:
    (written,) = Qwen3Prompt(qwen, None, 512)("jet", ["comet"])

    assert written.ids.tolist() == ids(
        qwen,
        "<|im_start|>system\nJudge whether the Document meets the requirements based on the Query "
        'and the Instruct provided. Note that the answer can only be "yes" or "no".<|im_end|>\n'
        "<|im_start|>user\n",
        "<Instruct>: Given a web search query, retrieve relevant passages that answer the query\n"
        "<Query>: jet\n<Document>: comet",
        "<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n",
    )
    assert not written.truncated


def test_qwen3_takes_an_instruction_of_ones_own(qwen: TextTokenizer) -> None:
    (written,) = Qwen3Prompt(qwen, "Find jets", 512)("jet", ["comet"])

    middle = ids(qwen, "<Instruct>: Find jets\n<Query>: jet\n<Document>: comet")
    assert str(middle)[1:-1] in str(written.ids.tolist())


def test_qwen3_is_cut_before_its_last_words(qwen: TextTokenizer) -> None:
    (written,) = Qwen3Prompt(qwen, None, 300)("jet", [LONG])

    tail = ids(qwen, "<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n")
    assert len(written.ids) == 300
    assert written.ids[-len(tail) :].tolist() == tail
    assert written.truncated


def test_a_max_length_that_holds_no_more_than_the_fixed_texts_is_refused(
    qwen: TextTokenizer,
) -> None:
    with pytest.raises(ModelFilesError, match=r"max_length 40 is too short: the fixed texts"):
        Qwen3Prompt(qwen, None, 40)


def test_mxbai_is_asked_for_a_judgment_behind_query_and_document(qwen: TextTokenizer) -> None:
    (written,) = MxbaiPrompt(qwen, None, 512, 4096)("jet", ["comet"])

    task = (
        "You are a search relevance expert who evaluates how well documents match search queries. "
        "For each query-document pair, carefully analyze the semantic relationship between them, "
        "then provide your binary relevance judgment (0 for not relevant, 1 for relevant).\n"
        "Relevance:"
    )
    assert written.ids.tolist() == ids(
        qwen,
        "<|im_start|>system\nYou are Qwen, created by Alibaba Cloud. You are a helpful "
        "assistant.<|im_end|>\n<|im_start|>user\n",
        "query: jet",
        "\n",
        "document: comet",
        "\n",
        task,
        "<|im_end|>\n<|im_start|>assistant\n",
    )


def test_mxbai_puts_an_instruction_before_the_query(qwen: TextTokenizer) -> None:
    (written,) = MxbaiPrompt(qwen, "Find jets", 512, 4096)("jet", ["comet"])

    assert str(ids(qwen, "instruction: Find jets\nquery: jet"))[1:-1] in str(written.ids.tolist())


def test_mxbai_keeps_within_max_length_beside_its_fixed_texts(qwen: TextTokenizer) -> None:
    write = MxbaiPrompt(qwen, None, 64, 4096)

    long, short = write(LONG, [LONG, "jet"])

    assert len(long.ids) == 64 + write.fixed_tokens
    assert long.truncated
    assert not short.truncated


def test_mxbai_never_exceeds_the_models_positions(qwen: TextTokenizer) -> None:
    (written,) = MxbaiPrompt(qwen, None, 4096, 400)(LONG, [LONG])

    assert len(written.ids) == 400


def written(*rows: list[int], passage: int) -> list[Written]:
    return [Written(np.array(row, np.int32), (passage, len(row)), False) for row in rows]


def test_what_prompts_begin_with_is_shared() -> None:
    first, second = share_prefix(
        written([1, 2, 3, 4, 5, 6, 7, 8], [1, 2, 3, 4, 5, 9], passage=6), longest=None
    )

    assert first.prefix is second.prefix
    assert first.prefix.ids.tolist() == [1, 2, 3, 4, 5]
    assert (first.ids.tolist(), second.ids.tolist()) == ([6, 7, 8], [9])
    assert first.passage == (1, 3)
    assert (first.tokens, second.tokens) == (8, 6)


@pytest.mark.parametrize(
    ("rows", "passage", "longest"),
    [
        ([[1, 2, 3, 4, 5, 6]], 6, None),
        ([[1, 2, 3, 9, 9], [1, 2, 3, 8, 8]], 5, None),
        ([[1, 2, 3, 4, 5, 6], [1, 2, 3, 4, 5, 7]], 5, 0),
        ([[1, 2, 3, 4, 5, 6], [1, 2, 3, 4, 5, 7]], 3, None),
    ],
    ids=["one document", "too little", "engine does not", "passage begins"],
)
def test_nothing_is_shared_where_it_does_not_pay(
    rows: list[list[int]], passage: int, longest: int | None
) -> None:
    prompts = share_prefix(written(*rows, passage=passage), longest)

    assert [prompt.ids.tolist() for prompt in prompts] == rows
    assert all(len(prompt.prefix) == 0 for prompt in prompts)


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"tokenizer_config.json": '{"bos_token": "<bos>"}'}, 2),
        ({"tokenizer_config.json": '{"bos_token": {"content": "<eos>"}}'}, 1),
        ({"tokenizer_config.json": '{"bos_token": null}'}, None),
        (
            {"tokenizer_config.json": "{}", "special_tokens_map.json": '{"bos_token": "<unk>"}'},
            3,
        ),
        ({"tokenizer_config.json": "{}"}, 2),
    ],
)
def test_the_first_token_is_what_the_tokenizer_says_else_the_config(
    tmp_path: Path, gemma: TextTokenizer, files: dict[str, str], expected: int | None
) -> None:
    directory = tiny_models.build("gemma", tmp_path)
    for name, text in files.items():
        (directory / "model" / name).write_text(text, encoding="utf-8")
    context = Context("v2", directory)

    found = special_id("bos_token", gemma, context, read_model_files(context.model_dir))

    assert found == expected
