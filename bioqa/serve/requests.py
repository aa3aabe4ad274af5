"""What handlers need of a request: the service, a ticket, and the limits."""

from collections.abc import Callable, Sequence
from typing import TypeVar

from fastapi import Request

from bioqa.serve.errors import InvalidError, TooLargeError
from bioqa.serve.gate import seconds_of
from bioqa.serve.rerank_queue import Ticket
from bioqa.serve.service import Service
from bioqa.serve.work import Work, watching

_Result = TypeVar("_Result")


def service_of(request: Request) -> Service:
    """The service that answers the request."""
    service: Service = request.app.state.service
    return service


def ticket_of(request: Request, question: str = "") -> Ticket:
    """A new ticket for the request, with the seconds of its header X-Request-Timeout if it has one.

    The log takes its times from the ticket, and the ``question`` if it may have it.

    Raises:
        InvalidError: the header is no number of seconds above 0.
        DrainingError: the server is shutting down.
    """
    header = request.headers.get("x-request-timeout")
    seconds = None if header is None else seconds_of(header)
    if header is not None and seconds is None:
        raise InvalidError("X-Request-Timeout must be a number of seconds above 0.", field="X-Request-Timeout")
    ticket = service_of(request).ticket(seconds)
    request.state.ticket = ticket
    request.state.question = question
    return ticket


async def run(request: Request, ticket: Ticket, function: Callable[[], _Result], *, slow: bool = False) -> _Result:
    """What the function returns, run on a thread of the server (see ``Work.run``); cancelled if the client goes away."""
    async with watching(ticket, request.receive):
        return await work_of(request).run(function, ticket=ticket, slow=slow)


def work_of(request: Request) -> Work:
    """The threads of the server."""
    work: Work = request.app.state.work
    return work


def check_length(field: str, text: str, limit: int, name: str) -> None:
    """Raise TooLargeError if a text has more characters than the limit of that name."""
    if len(text) > limit:
        raise TooLargeError(f"{field} has {len(text):,} characters; the limit {name} is {limit:,}.", field=field)


def check_count(field: str, values: Sequence[object], limit: int, name: str) -> None:
    """Raise TooLargeError if a list has more values than the limit of that name."""
    if len(values) > limit:
        raise TooLargeError(f"{field} has {len(values):,} values; the limit {name} is {limit:,}.", field=field)


def check_number(field: str, value: int, limit: int, name: str) -> None:
    """Raise TooLargeError if a number is above the limit of that name."""
    if value > limit:
        raise TooLargeError(f"{field} is {value}; the limit {name} is {limit:,}.", field=field)
