"""Every error of the API in one JSON form: {"error": {"code", "message", "field"?}}."""

import logging
from collections.abc import Sequence
from typing import Any

import orjson
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from bioqa.errors import BioqaError, shown
from bioqa.serve.errors import ServeError, status_and_code

_log = logging.getLogger(__name__)

_KINDS = {
    "string_type": "text",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "finite_number": "a finite number",
    "list_type": "a list",
    "dict_type": "an object",
    "model_type": "an object",
    "model_attributes_type": "an object",
}
_BOUNDS = {"greater_than_equal": ("at least", "ge"), "less_than_equal": ("at most", "le")}
_SHAPES = ("TeiRerank", "Rerank")
"""Names in pydantic's locations that are of no field: the shapes that a body may have."""
_CODES = {404: "not_found", 405: "method_not_allowed"}


class Json(Response):
    """A JSON response, written by orjson; a lone surrogate, which JSON in UTF-8 cannot have, becomes "?"."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        """The content as bytes."""
        return to_json(content)


def to_json(content: Any) -> bytes:
    """The content as JSON in UTF-8."""
    try:
        return orjson.dumps(content)
    except TypeError:
        return orjson.dumps(_encodable(content))


def _encodable(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode("utf-8")
    if isinstance(value, dict):
        return {_encodable(key): _encodable(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_encodable(one) for one in value]
    return value


def problem(status: int, code: str, message: str, field: str = "", retry_after: int | None = None) -> Response:
    """The response to a request that is not answered."""
    error = {"code": code, "message": message, **({"field": field} if field else {})}
    headers = {"Retry-After": str(retry_after)} if retry_after is not None else None
    return Json({"error": error}, status, headers)


def of_error(error: BioqaError) -> Response:
    """The response to a request that failed with one of bioqa's errors."""
    status, code = status_and_code(error)
    field, retry_after = (error.field, error.retry_after) if isinstance(error, ServeError) else ("", None)
    return problem(status, code, str(error), field, retry_after)


def add_error_handlers(app: FastAPI) -> None:
    """Answer every error in the one form."""

    async def on_bioqa_error(request: Request, error: Exception) -> Response:
        assert isinstance(error, BioqaError)
        request.state.code = status_and_code(error)[1]
        return of_error(error)

    async def on_invalid(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        request.state.code = "invalid_request"
        return of_validation(error.errors())

    async def on_http(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        code = _CODES.get(error.status_code, "bad_request")
        message = str(error.detail)
        if code == "not_found":
            message = f"There is nothing at {request.url.path}."
        elif code == "method_not_allowed":
            message = f"{request.url.path} cannot be called with {request.method}."
        response = problem(error.status_code, code, message)
        response.headers.update(error.headers or {})
        return response

    app.add_exception_handler(BioqaError, on_bioqa_error)
    app.add_exception_handler(RequestValidationError, on_invalid)
    app.add_exception_handler(HTTPException, on_http)


def of_validation(errors: Sequence[Any]) -> Response:
    """The response to a request that pydantic refused: the first of its errors as a sentence."""
    error = errors[0]
    if error["type"] == "json_invalid":
        reason = str(error.get("ctx", {}).get("error", "")).rstrip(".")
        return problem(400, "invalid_json", f"The body is not JSON: {reason}.")
    field = ".".join(str(part) for part in error["loc"][1:] if part not in _SHAPES)
    code = "unknown_field" if error["type"] == "extra_forbidden" else "invalid_request"
    return problem(422, code, validation_sentence(error, field), field)


def validation_sentence(error: Any, field: str) -> str:
    """What is wrong with the field ("": the whole body) in one of pydantic's errors."""
    name = field or "The body"
    kind = error["type"]
    context = error.get("ctx", {})
    if kind == "extra_forbidden":
        return f"There is no field {field}."
    if kind == "missing":
        return f"{name} is missing."
    if kind in _KINDS:
        return f"{name} must be {_KINDS[kind]}, not {shown(error.get('input'))}."
    if kind == "literal_error":
        return f"{name} must be {context.get('expected')}, not {shown(error.get('input'))}."
    if kind in _BOUNDS:
        words, limit = _BOUNDS[kind]
        return f"{name} must be {words} {context[limit]:,}, not {shown(error.get('input'))}."
    return f"{name}: {error['msg']}."
