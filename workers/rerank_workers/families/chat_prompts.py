"""How the chat models among the rerankers ask: Qwen3-Reranker, and mxbai-rerank-v2 on Qwen2.

Both texts are those of the models' own code (the card of Qwen/Qwen3-Reranker-0.6B; mxbai_rerank
0.1.6, mxbai_rerank_v2.py), and so is where they are cut.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from rerank_workers.engines.files import ModelFilesError
from rerank_workers.families.language_model import Written
from rerank_workers.families.tokenizer import TextTokenizer

QWEN3_INSTRUCTION = "Given a web search query, retrieve relevant passages that answer the query"
_QWEN3_BEFORE = (
    "<|im_start|>system\nJudge whether the Document meets the requirements based on the Query and "
    'the Instruct provided. Note that the answer can only be "yes" or "no".<|im_end|>\n'
    "<|im_start|>user\n"
)
_QWEN3_BEHIND = "<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n"

_MXBAI_BEFORE = (
    "<|im_start|>system\nYou are Qwen, created by Alibaba Cloud. You are a helpful "
    "assistant.<|im_end|>\n<|im_start|>user\n"
)
_MXBAI_TASK = (
    "You are a search relevance expert who evaluates how well documents match search queries. For "
    "each query-document pair, carefully analyze the semantic relationship between them, then "
    "provide your binary relevance judgment (0 for not relevant, 1 for relevant).\nRelevance:"
)
_MXBAI_BEHIND = "<|im_end|>\n<|im_start|>assistant\n"


class Qwen3Prompt:
    """Instruction, query and document in one text, cut at its end; max_length holds it all."""

    def __init__(self, tokenizer: TextTokenizer, instruction: str | None, max_length: int) -> None:
        """Prepare.

        Raises:
            ModelFilesError: max_length has no room for more than the fixed texts.
        """
        self._tokenizer = tokenizer
        self._instruction = QWEN3_INSTRUCTION if instruction is None else instruction
        self._before, self._behind = tokenizer.ids([_QWEN3_BEFORE, _QWEN3_BEHIND])
        self._room = max_length - len(self._before) - len(self._behind)
        self.fixed_tokens = 0
        """Beyond max_length."""
        if self._room < 1:
            raise ModelFilesError(
                f"max_length {max_length} is too short: the fixed texts of this model's prompt "
                f"take {len(self._before) + len(self._behind)} tokens"
            )

    def __call__(self, query: str, docs: Sequence[str]) -> list[Written]:
        """See `language_model.Writer`."""
        head = f"<Instruct>: {self._instruction}\n<Query>: {query}\n<Document>: "
        texts = self._tokenizer.ids([head + doc for doc in docs])
        return [self._written(ids) for ids in texts]

    def _written(self, ids: Sequence[int]) -> Written:
        kept = ids[: self._room]
        row = np.array([*self._before, *kept, *self._behind], dtype=np.int32)
        # Where the document begins is not known in tokens: one may reach over the border.
        end = len(row) - len(self._behind)
        return Written(row, (end, end), truncated=len(ids) > self._room)


class MxbaiPrompt:
    """Query and document tokenized one by one; the texts around them come on top of max_length."""

    def __init__(
        self,
        tokenizer: TextTokenizer,
        instruction: str | None,
        max_length: int,
        max_positions: int | None,
    ) -> None:
        self._tokenizer = tokenizer
        self._head = f"instruction: {instruction}\nquery: " if instruction else "query: "
        self._before, self._line_break, task, behind = tokenizer.ids(
            [_MXBAI_BEFORE, "\n", _MXBAI_TASK, _MXBAI_BEHIND]
        )
        self._behind = [*self._line_break, *task, *behind]
        self.fixed_tokens = len(self._before) + len(self._behind)
        """Beyond max_length."""
        self._max_positions = max_length + self.fixed_tokens
        if max_positions is not None:
            self._max_positions = min(self._max_positions, max_positions)
        self._max_length = self._max_positions - self.fixed_tokens

    def __call__(self, query: str, docs: Sequence[str]) -> list[Written]:
        """See `language_model.Writer`."""
        query_ids, *documents = self._tokenizer.ids(
            [self._head + query, *(f"document: {doc}" for doc in docs)]
        )
        query_ids = query_ids[: self._max_length * 3 // 4]
        room = max(0, self._max_length - len(query_ids) - len(self._line_break))
        head = [*self._before, *query_ids, *self._line_break]
        return [
            Written(
                np.array([*head, *ids[:room], *self._behind], dtype=np.int32),
                (len(head), len(head) + min(len(ids), room)),
                truncated=len(ids) > room,
            )
            for ids in documents
        ]
