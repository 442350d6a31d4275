"""Whatever JSON comes, a dialect reads it or refuses it in its own format; nothing else happens."""

from __future__ import annotations

import os

import orjson
from hypothesis import given, settings
from hypothesis import strategies as st

from rerank_server.errors import (
    BadRequestError,
    DeadlineError,
    ForbiddenError,
    MethodNotAllowedError,
    ModelError,
    NotFoundError,
    OverloadedError,
    RequestTimeoutError,
    RerankServerError,
    TooLargeError,
    UnauthorizedError,
    UnavailableError,
    UnsupportedMediaTypeError,
    WorkerLostError,
)
from rerank_server.gateway.body import parse_object
from rerank_server.gateway.dialect import Dialect, ScoreResult, Scores
from rerank_server.gateway.dialects.choice import pick
from rerank_server.gateway.dialects.dashscope import DASHSCOPE
from rerank_server.gateway.dialects.mixedbread import MIXEDBREAD
from rerank_server.gateway.dialects.nim import NIM
from rerank_server.gateway.dialects.pairs import PAIRS
from rerank_server.gateway.dialects.pinecone import PINECONE
from rerank_server.gateway.dialects.superset import BARE_SUPERSET, SUPERSET
from rerank_server.gateway.dialects.tei import TEI
from rerank_server.gateway.dialects.voyage import VOYAGE
from rerank_server.gateway.native import NATIVE

EXAMPLES = int(os.environ.get("RERANK_SERVER_FUZZ", "300"))
"""Inputs of each test; more of them where time does not matter."""

MAX_DOCS = 5
DIALECTS: tuple[Dialect, ...] = (
    *(NATIVE, SUPERSET, BARE_SUPERSET, TEI, PAIRS, VOYAGE, MIXEDBREAD, NIM, PINECONE, DASHSCOPE),
)
STATUSES = {400, 413, 422}
KEYS = (
    *("query", "docs", "texts", "documents", "passages", "input", "queries", "text_1", "text_2"),
    *("data_1", "data_2", "items", "model", "top_n", "top_k", "raw_scores", "use_activation"),
    *("normalize", "activation", "return_docs", "return_documents", "return_text", "truncate"),
    *("return_input", "truncation", "truncation_direction", "truncation_side", "rank_fields"),
    "parameters",
)
KINDS = (
    *(RerankServerError, BadRequestError, UnauthorizedError, ForbiddenError, NotFoundError),
    *(MethodNotAllowedError, RequestTimeoutError, TooLargeError, UnsupportedMediaTypeError),
    *(OverloadedError, ModelError, WorkerLostError, UnavailableError, DeadlineError),
)
"""Every error a client may be sent."""

SCALARS = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
    | st.sampled_from(["true", "false", "END", "NONE", "Left", "left", "right", "text"])
)  # fmt: skip
DOCUMENT = st.text(max_size=5) | st.fixed_dictionaries({"text": st.text(max_size=5)})
LEAVES = SCALARS | DOCUMENT
INNER = LEAVES | st.lists(LEAVES, max_size=3)
VALUES = (
    INNER
    | st.lists(DOCUMENT, max_size=MAX_DOCS + 1)
    | st.lists(INNER, max_size=MAX_DOCS + 1)
    | st.dictionaries(st.sampled_from(["text", "title", ""]), INNER, max_size=3)
)
LIKELY = st.fixed_dictionaries(
    {"query": st.text(min_size=1, max_size=5)},
    optional={
        key: st.lists(DOCUMENT, max_size=MAX_DOCS + 1)
        for key in ("docs", "texts", "documents", "passages", "input", "queries")
    },
)
BODIES = st.dictionaries(st.sampled_from(KEYS), VALUES, max_size=8) | st.builds(
    lambda likely, more: more | likely,
    LIKELY,
    st.dictionaries(st.sampled_from(KEYS), VALUES, max_size=3),
)


@settings(max_examples=EXAMPLES, deadline=None)
@given(body=BODIES, path_dialect=st.sampled_from(DIALECTS))
def test_a_body_is_read_and_answered_or_refused_in_the_dialect_it_shows(
    body: dict[str, object], path_dialect: Dialect
) -> None:
    for dialect in (pick(body, path_dialect), path_dialect):
        try:
            request = dialect.parse(body, max_docs=MAX_DOCS)
        except RerankServerError as error:
            rendered = dialect.render_error(error, "id")
            assert rendered.status in STATUSES
            assert orjson.loads(rendered.body)
            continue
        assert isinstance(request.query, str)
        assert all(isinstance(doc, str) for doc in request.docs)
        assert len(request.docs) <= MAX_DOCS
        assert request.queries is None or len(request.queries) == len(request.docs)
        count = len(request.docs)
        scores = Scores(
            raw=[-1.0 * i for i in range(count)], unit=[0.5] * count, tokens=[1] * count
        )
        assert orjson.loads(dialect.render(request, ScoreResult("v1", scores))) is not None


@settings(max_examples=EXAMPLES, deadline=None)
@given(content=st.binary(max_size=60) | BODIES.map(repr).map(str.encode))
def test_any_bytes_are_an_object_or_a_bad_request(content: bytes) -> None:
    try:
        body = parse_object(content)
    except RerankServerError as error:
        assert error.status == 400
    else:
        assert pick(body, NATIVE) in DIALECTS


@settings(max_examples=EXAMPLES // 5, deadline=None)
@given(
    message=st.text(max_size=20),
    field=st.none() | st.text(max_size=5),
    dialect=st.sampled_from(DIALECTS),
)
def test_no_error_is_a_422_outside_its_own_format(
    message: str, field: str | None, dialect: Dialect
) -> None:
    for kind in KINDS:
        rendered = dialect.render_error(kind(message, field=field), "id")
        assert dialect is TEI or rendered.status != 422
        assert orjson.loads(rendered.body)
