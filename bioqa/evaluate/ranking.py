"""Ranking measures by ranx, equal to trec_eval's (https://github.com/usnistgov/trec_eval).

ranx orders documents by score alone; trec_eval keeps scores in single precision and breaks ties by document id, descending.
Each list is therefore put in trec_eval's order here, and ranx gets positions instead of scores: arrays of document numbers, which
avoid its hashing of ids and its typed lists, slower than the measures themselves. Where a measure of ranx differs from
trec_eval's, ``_values`` says how it is made equal.
"""

import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from difflib import get_close_matches
from statistics import fmean
from threading import Lock
from typing import TYPE_CHECKING, Any

from bioqa.errors import QuestionError, UsageError
from bioqa.evaluate.lazy_ranx import ranx_metrics
from bioqa.io.trec import Qrels, RunScores

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

DEFAULT_MEASURES = ("nDCG@10", "RR@10", "AP", "R@100")

BLOCK_CELLS = 1 << 21
"""Results evaluated at a time, including the padding of short lists: a block's arrays take 32 MB."""


@dataclass(frozen=True, slots=True)
class _Kind:
    """A family of measures: ranx's function, and its names in trec_eval, ir-measures and ranx."""

    function: str
    names: tuple[str, ...]
    cutoff: bool = True
    graded: bool = False


_KINDS = {
    "nDCG": _Kind("ndcg", ("ndcg", "ndcg_cut"), graded=True),
    "AP": _Kind("average_precision", ("ap", "map", "map_cut")),
    "RR": _Kind("reciprocal_rank", ("rr", "mrr", "recip_rank")),
    "P": _Kind("precision", ("p", "precision", "set_p", "setp")),
    "R": _Kind("recall", ("r", "recall", "set_recall", "setr")),
    "F1": _Kind("f1", ("f1", "set_f", "setf")),
    "Success": _Kind("hit_rate", ("success", "hit_rate")),
    "Hits": _Kind("hits", ("hits", "num_rel_ret")),
    "Rprec": _Kind("r_precision", ("rprec", "r-precision"), cutoff=False),
    "Bpref": _Kind("bpref", ("bpref",), cutoff=False),
    "RBP": _Kind("rank_biased_precision", ("rbp",)),
    "gm_map": _Kind("average_precision", ("gm_map",), cutoff=False),
    "DCG": _Kind("dcg", ("dcg",), graded=True),
    "nDCG_Burges": _Kind("ndcg_burges", ("ndcg_burges",), graded=True),
    "DCG_Burges": _Kind("dcg_burges", ("dcg_burges",), graded=True),
}
_BY_NAME = {name: kind for kind, family in _KINDS.items() for name in family.names}
_EXAMPLES = {"ndcg_cut": "ndcg_cut_10", "map_cut": "map_cut_100"}
_PARAMETER = r"(?:p=0?\.\d{1,9}|rel=\d{1,9})"
_PATTERN = re.compile(
    rf"(?P<name>[a-z][a-z0-9_-]*?)(?:\((?P<given>{_PARAMETER}(?:, ?{_PARAMETER})?)\))?(?:[@_.](?P<cutoff>\d{{1,9}}))?"
    r"(?:-l(?P<level>\d{1,9}))?",
    re.IGNORECASE,
)
MIN_GEOMETRIC = 1e-5
"""What a lower average precision of a query counts as in gm_map, as in trec_eval."""


@dataclass(frozen=True, slots=True)
class Measure:
    """A measure: its family (``kind``), its cut-off (0: none), and the minimum relevance that counts as relevant.

    ``persistence`` is RBP's, the probability of going on to the next result; 0 for all other measures.
    """

    kind: str
    cutoff: int = 0
    relevance: int = 1
    persistence: float = 0.0

    def __str__(self) -> str:
        """Its name in ir-measures."""
        given = [f"p={self.persistence:g}"] if self.persistence else []
        given += [f"rel={self.relevance}"] if self.relevance != 1 else []
        return self.kind + (f"({','.join(given)})" if given else "") + (f"@{self.cutoff}" if self.cutoff else "")


def parse_measure(name: str) -> Measure:
    """The measure of that name, which may be that of trec_eval, ir-measures or ranx, in upper or lower case.

    So ``ndcg_cut_10``, ``nDCG@10`` and ``ndcg@10`` are the same measure, and so are ``recip_rank``, ``RR`` and ``mrr``. A minimum
    relevance other than 1 is written as in ir-measures (``AP(rel=2)@100``) or ranx (``map@100-l2``), RBP's persistence as in ranx
    (``rbp.95``) or ir-measures (``RBP(p=0.95)@10``).

    Raises:
        UsageError: no such measure, a cut-off of 0 or for a measure without one, or a missing cut-off or persistence.
    """
    match = _PATTERN.fullmatch(name.strip())
    kind = _BY_NAME.get(match["name"].lower()) if match else None
    if match is None or kind is None:
        raise UsageError(f"Unknown measure {name!r}.{_nearest(name)}")
    family, written, cutoff = _KINDS[kind], match["name"].lower(), match["cutoff"]
    given = dict(part.strip().split("=") for part in (match["given"] or "").lower().split(",") if part)
    persistence = given.get("p")
    if kind == "RBP" and persistence is None:  # ranx: the decimals of the persistence in the place of a cut-off
        persistence, cutoff = f".{cutoff}" if cutoff else None, None
    if (kind == "RBP") != (float(persistence or 0) > 0):
        reason = "needs a persistence, such as rbp.95 or RBP(p=0.95)" if kind == "RBP" else "has no persistence"
        raise UsageError(f"Invalid measure {name!r}: {kind} {reason}.")
    if cutoff is None and written in _EXAMPLES:
        raise UsageError(f"Measure {name!r} needs a cut-off, such as {_EXAMPLES[written]}.")
    if cutoff is not None and (not family.cutoff or int(cutoff) < 1):
        reason = "a cut-off must be 1 or more" if family.cutoff else f"{kind} has no cut-off"
        raise UsageError(f"Invalid measure {name!r}: {reason}.")
    relevance = given.get("rel") or match["level"]
    if relevance is not None and (family.graded or int(relevance) < 1):
        reason = f"{kind} uses every grade" if family.graded else "the minimum relevance must be 1 or more"
        raise UsageError(f"Invalid measure {name!r}: {reason}.")
    return Measure(kind, int(cutoff or 0), int(relevance or 1), float(persistence or 0))


def _nearest(name: str) -> str:
    """A sentence with the closest name, and one with the known names."""
    stem, _, cutoff = name.lower().partition("@")
    known = {**{other: other for other in _BY_NAME}, **{kind.lower(): kind for kind in _KINDS}}
    near = get_close_matches(stem, known, n=1, cutoff=0.5)
    meant = f" Did you mean {known[near[0]]}{'@' + cutoff if cutoff.isdecimal() else ''}?" if near else ""
    return f"{meant} Measures: {', '.join(_KINDS)}, with a cut-off as in nDCG@10, or their names in trec_eval and ranx."


def evaluate_run(qrels: Qrels, run: RunScores, measures: Sequence[str]) -> dict[str, dict[str, float]]:
    """Measure name as given → query id → value, for every query in the qrels, in their order.

    As ``trec_eval -c``: queries without results or without a relevant document count 0 and stay in the mean; queries of the run
    that are not in the qrels are ignored; documents whose scores are equal in single precision are ordered by id, descending; a
    negative relevance means not judged. The values of gm_map are logarithms of average precision, as in trec_eval; ``mean`` gives
    the measure.

    Raises:
        UsageError: an unknown measure.
        QuestionError: the qrels are empty, no query of the run is in them, or a score is not a finite number.
    """
    parsed = {name: parse_measure(name) for name in measures}
    _check(qrels, run)
    floors = {name: math.log(MIN_GEOMETRIC) if measure.kind == "gm_map" else 0.0 for name, measure in parsed.items()}
    values: dict[str, dict[str, float]] = {name: dict.fromkeys(qrels, floor) for name, floor in floors.items()}
    for queries in _blocks(qrels, run):
        block = _Block.make(queries, qrels, run)
        for name, measure in parsed.items():
            values[name].update(zip(queries, map(float, _values(block, measure)), strict=True))
    return values


def mean(measure: str, values: Iterable[float]) -> float:
    """The mean over queries of the values of a measure: for gm_map, the geometric mean of what the values are logarithms of."""
    match = _PATTERN.fullmatch(measure.strip())
    found = fmean(values)
    return math.exp(found) if match and _BY_NAME.get(match["name"].lower()) == "gm_map" else found


def means(values: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """The mean over all queries of each measure in the result of ``evaluate_run``."""
    return {name: mean(name, of.values()) for name, of in values.items()}


def _check(qrels: Qrels, run: RunScores) -> None:
    import numpy as np

    if not qrels:
        raise QuestionError("The qrels are empty.")
    if not any(query in qrels for query in run):
        raise QuestionError(
            f"No query of the run is in the qrels (the run has {_some(run)}; the qrels have {_some(qrels)}). "
            "Evaluate a run with the qrels of its own queries."
        )
    for query, documents in run.items():
        scores = np.fromiter(documents.values(), np.float64, len(documents))
        if not np.isfinite(scores).all():
            name = next(name for name, score in documents.items() if not np.isfinite(score))
            raise QuestionError(f"Query {query}, document {name}: the score is not a finite number.")


def _some(names: Mapping[str, object]) -> str:
    return ", ".join(list(names)[:3]) + (", …" if len(names) > 3 else "") or "none"


def _blocks(qrels: Qrels, run: RunScores) -> Iterator[list[str]]:
    """The queries with both results and judgements, in groups of similar length whose arrays stay small."""
    sizes = {query: max(len(run[query]), len(qrels[query])) for query in qrels if run.get(query) and qrels[query]}
    block: list[str] = []
    for query in sorted(sizes, key=lambda query: sizes[query]):
        if block and (len(block) + 1) * sizes[query] > BLOCK_CELLS:
            yield block
            block = []
        block.append(query)
    if block:
        yield block


@dataclass(frozen=True, slots=True)
class _Block:
    """Some queries as arrays [query, position, (document number, value)].

    ``judged`` has each query's judged documents, numbered from 0, most relevant first; ``ranked`` the numbers of its results in
    order. Both are padded with rows of number -1 and value 0, which ranx takes for documents that are not relevant.
    """

    judged: "NDArray[np.float64]"
    ranked: "NDArray[np.float64]"
    judgements: "NDArray[np.int64]"
    results: "NDArray[np.int64]"

    @classmethod
    def make(cls, queries: list[str], qrels: Qrels, run: RunScores) -> "_Block":
        import numpy as np

        judgements = [_judged(qrels[query]) for query in queries]
        ordered = [_trec_order(run[query]) for query in queries]
        judged = _padding(judgements)
        ranked = _padding(ordered)
        for row, (pairs, documents) in enumerate(zip(judgements, ordered, strict=True)):
            judged[row, : len(pairs), 0] = np.arange(len(pairs))
            judged[row, : len(pairs), 1] = [relevance for _, relevance in pairs]
            number = {document: position for position, (document, _) in enumerate(pairs)}
            ranked[row, : len(documents), 0] = [number.get(document, -1) for document in documents]
        return cls(judged, ranked, np.array([len(x) for x in judgements]), np.array([len(x) for x in ordered]))


def _padding(rows: Sequence[Sequence[object]]) -> "NDArray[np.float64]":
    import numpy as np

    array = np.zeros((len(rows), max(1, *map(len, rows)), 2))
    array[:, :, 0] = -1
    return array


def _judged(documents: Mapping[str, int]) -> list[tuple[str, int]]:
    return sorted(((name, rel) for name, rel in documents.items() if rel >= 0), key=lambda pair: -pair[1])


def _trec_order(documents: Mapping[str, float]) -> list[str]:
    """The ids by score in single precision, then by id, both descending."""
    import numpy as np

    with np.errstate(over="ignore"):
        scores = np.fromiter(documents.values(), np.float64, len(documents)).astype(np.float32).tolist()
    return [name for _, name in sorted(zip(scores, documents, strict=True), reverse=True)]


_RANX = Lock()  # numba's workqueue threads abort the process when two callers use them at the same time.


def _values(block: _Block, measure: Measure) -> "NDArray[np.float64]":
    """The measure of each query in the block."""
    import numpy as np

    metrics = ranx_metrics()
    function: Callable[..., Any] = getattr(metrics, _KINDS[measure.kind].function)
    with _RANX:
        if measure.kind == "Bpref":
            return _bpref(function, block, measure.relevance)
        if measure.kind in ("P", "F1") and not measure.cutoff:
            return _whole_list(block, measure, metrics.hits)
        if measure.kind == "RBP":
            return _rank_biased_precision(function, block, measure)
        result: NDArray[np.float64] = function(block.judged, block.ranked, measure.cutoff, measure.relevance)
    return np.log(np.maximum(result, MIN_GEOMETRIC)) if measure.kind == "gm_map" else result


def _whole_list(block: _Block, measure: Measure, hits: Callable[..., Any]) -> "NDArray[np.float64]":
    """Precision or F1 of whole lists: ranx would divide by the padded length."""
    import numpy as np

    found = hits(block.judged, block.ranked, 0, measure.relevance)
    relevant = (block.judged[:, :, 1] >= measure.relevance).sum(axis=1)
    whole = block.results if measure.kind == "P" else (block.results + relevant) / 2
    result: NDArray[np.float64] = found / np.maximum(whole, 1)
    return result


def _rank_biased_precision(function: Callable[..., Any], block: _Block, measure: Measure) -> "NDArray[np.float64]":
    """RBP of Moffat and Zobel (ACM TOIS 2008), where a result is relevant or not: ranx would weight it by its grade."""
    import numpy as np

    judged, ranked = block.judged.copy(), block.ranked
    judged[:, :, 1] = judged[:, :, 1] >= measure.relevance
    if measure.cutoff:
        ranked = np.ascontiguousarray(ranked[:, : measure.cutoff])
    result: NDArray[np.float64] = function(judged, ranked, measure.persistence, 1)
    return result


def _bpref(function: Callable[..., Any], block: _Block, relevance: int) -> "NDArray[np.float64]":
    """Bpref query by query, since it counts every row as judged.

    ranx divides 0 by 0 if every judged document is relevant; adding a judged document that is neither relevant nor retrieved
    gives trec_eval's value.
    """
    import numpy as np

    result = np.zeros(len(block.judged))
    for row, size in enumerate(block.judgements):
        judged = block.judged[row : row + 1, :size]
        if not (judged[0, :, 1] >= relevance).any():
            continue
        if (judged[0, :, 1] >= relevance).all():
            judged = np.concatenate([judged, [[[size, 0.0]]]], axis=1)
        result[row] = function(np.ascontiguousarray(judged), block.ranked[row : row + 1], 0, relevance)[0]
    return result


@contextmanager
def notify_compilation(notify: Callable[[], None]) -> Iterator[None]:
    """Call ``notify`` once if numba compiles a measure within the block, which takes long but happens once per installation."""
    from numba.core import event

    class Listener(event.Listener):
        notified = False

        def on_start(self, event: Any) -> None:
            if not self.notified:
                self.notified = True
                notify()

        def on_end(self, event: Any) -> None:
            pass

    with event.install_listener("numba:compile", Listener()):
        yield
