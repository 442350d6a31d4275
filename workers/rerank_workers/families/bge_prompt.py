"""How FlagEmbedding's LLM rerankers ask: query, line break, passage, line break, question.

The pieces are tokenized one by one. The query is cut to three quarters of max_length; what then
exceeds max_length is cut from the passage's end; the question always survives, beyond max_length.
FlagEmbedding/inference/reranker/decoder_only/base.py, compute_score_single_gpu.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rerank_workers.engines.files import ModelFiles, ModelFilesError
from rerank_workers.families import limits
from rerank_workers.families.language_model import Written, special_id
from rerank_workers.families.tokenizer import TextTokenizer, load_tokenizer
from rerank_workers.scorer import Context

QUERY_INSTRUCTION = "A: "
PASSAGE_INSTRUCTION = "B: "
QUESTION = (
    "Given a query A and a passage B, determine whether the passage contains an answer to the "
    "query by providing a prediction of either 'Yes' or 'No'."
)
SHORT_QUESTION = "Predict whether passage B contains an answer to query A."
"""What bge-reranker-v2.5-gemma2-lightweight is asked."""


@dataclass(frozen=True, slots=True)
class Wording:
    """The fixed texts of the prompt."""

    query_instruction: str = QUERY_INSTRUCTION
    passage_instruction: str = PASSAGE_INSTRUCTION
    question: str = QUESTION


class BgePrompt:
    """Writes prompts for one model."""

    def __init__(
        self, tokenizer: TextTokenizer, wording: Wording, bos: int | None, max_length: int
    ) -> None:
        self._tokenizer = tokenizer
        self._wording = wording
        self._max_length = max_length
        self._before = [] if bos is None else [bos]
        self._line_break, question = tokenizer.ids(["\n", wording.question])
        self._behind = [*self._line_break, *question]

    @property
    def fixed_tokens(self) -> int:
        """How many tokens a prompt has beside the texts of query and passage."""
        return len(self._before) + len(self._line_break) + len(self._behind)

    def __call__(self, query: str, docs: Sequence[str]) -> list[Written]:
        """See `language_model.Writer`."""
        wording = self._wording
        texts = [
            wording.query_instruction + query,
            *(wording.passage_instruction + doc for doc in docs),
        ]
        query_ids, *passages = self._tokenizer.ids(texts)
        head = [*self._before, *query_ids[: self._max_length * 3 // 4], *self._line_break]
        room = self._max_length + len(self._line_break) + len(self._behind) - len(head)
        room = min(room - len(self._line_break), self._max_length)
        return [
            Written(
                np.array([*head, *ids[:room], *self._behind], dtype=np.int32),
                (len(head), len(head) + min(len(ids), room)),
                truncated=len(ids) > room,
            )
            for ids in passages
        ]


@dataclass(frozen=True, slots=True)
class LoadedPrompt:
    """The prompt of one version, ready to be written."""

    write: BgePrompt
    tokenizer: TextTokenizer
    max_length: str
    """The effective length, for people."""


def load_prompt(
    context: Context, files: ModelFiles, wording: Wording, *, needs_bos: bool
) -> LoadedPrompt:
    """Load the tokenizer and prepare the prompt.

    With `needs_bos` every prompt begins with the tokenizer's bos_token; without, only where it has
    one that is not also its pad_token (so FlagEmbedding's `FlagLLMReranker`).

    Raises:
        ModelFilesError: there is no tokenizer, or it lacks the token.
    """
    tokenizer = load_tokenizer(context.tokenizer_dir, files)
    length = limits.max_length(context, files)
    bos = special_id("bos_token", tokenizer, context, files)
    if needs_bos and bos is None:
        raise ModelFilesError(
            f"{tokenizer.file}: the tokenizer has no bos_token, which prompts begin with"
        )
    if not needs_bos and bos == special_id("pad_token", tokenizer, context, files):
        bos = None
    write = BgePrompt(tokenizer, wording, bos, length)
    return LoadedPrompt(write, tokenizer, limits.describe(context, length, write.fixed_tokens))
