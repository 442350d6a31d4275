"""Looks at a version's `rerank.py` without running it."""

from __future__ import annotations

import ast
import warnings
from pathlib import Path


def fault(path: Path) -> str | None:
    """Tell what keeps a `rerank.py` from being one, or None.

    It must parse, and define, assign or import `rerank` at its top level; a function must take a
    query and documents.
    """
    try:
        with warnings.catch_warnings():
            # Doubtful escapes and the like are the owner's business.
            warnings.simplefilter("ignore")
            module = ast.parse(path.read_bytes(), filename=path.name)
    except FileNotFoundError:
        return "no rerank.py"
    except (SyntaxError, ValueError) as error:
        line = getattr(error, "lineno", None)
        where = f"rerank.py:{line}" if line else "rerank.py"
        return f"{where}: {getattr(error, 'msg', None) or error}"
    for statement in module.body:
        match statement:
            case ast.FunctionDef(name="rerank") as function:
                return _signature_fault(function)
            case ast.AsyncFunctionDef(name="rerank"):
                return f"rerank.py:{statement.lineno}: rerank must not be async"
            case _ if "rerank" in _names_bound_by(statement):
                return None
    return "rerank.py does not define rerank(query, docs)"


def _signature_fault(function: ast.FunctionDef) -> str | None:
    arguments = function.args
    positional = len(arguments.posonlyargs) + len(arguments.args)
    required = positional - len(arguments.defaults)
    takes_two = positional >= 2 or arguments.vararg is not None
    needs_more = required > 2 or None in arguments.kw_defaults
    if takes_two and not needs_more:
        return None
    return f"rerank.py:{function.lineno}: rerank must take (query, docs)"


def _names_bound_by(statement: ast.stmt) -> set[str]:
    match statement:
        case ast.Assign(targets=targets):
            return {target.id for target in targets if isinstance(target, ast.Name)}
        case ast.AnnAssign(target=ast.Name(id=name), value=ast.expr()):
            return {name}
        case ast.Import(names=names) | ast.ImportFrom(names=names):
            return {alias.asname or alias.name for alias in names}
        case ast.If() | ast.Try():
            inner = [node for node in ast.walk(statement) if node is not statement]
            defined = {node.name for node in inner if isinstance(node, ast.FunctionDef)}
            bound = [_names_bound_by(node) for node in inner if isinstance(node, ast.stmt)]
            return defined.union(*bound)
        case _:
            return set()
