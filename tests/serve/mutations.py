"""Request bodies that are wrong in many ways."""

import json
import random

QUESTION = "Which gene is mutated in Marfan syndrome?"
SEEDS = [
    ("POST", "/v1/search", {"question": QUESTION, "top": 2, "filters": {"mesh": ["Asthma"], "since": "2019"}}),
    ("POST", "/v1/search", {"question": "title:marfan AND (fbn1 OR x*)", "syntax": "lucene", "rerank": False}),
    ("POST", "/v1/search/batch", {"questions": [QUESTION], "top": 1, "facets": ["year"], "max_chars": 100}),
    ("POST", "/rerank", {"query": "why", "texts": ["because", "of"], "raw_scores": True, "truncate": None}),
    ("POST", "/v2/rerank", {"model": "m", "query": "why", "documents": ["a", {"text": "b"}], "top_n": 1}),
]
VALUES = [
    None,
    True,
    -1,
    0,
    2**70,
    1e308,
    float("nan"),
    "",
    "\ud800",
    "\x00",
    "x" * 3000,
    [],
    {},
    [[[]]],
    {"a": {}},
    "((",
]


def mutated(body: dict, rng: random.Random) -> bytes:
    """The body with something changed: a value, a key, or bytes of its text."""
    made = json.loads(json.dumps(body))
    for _ in range(rng.randint(0, 2)):
        target = rng.choice([made, *[one for one in made.values() if isinstance(one, dict | list) and one]])
        key = rng.randrange(len(target)) if isinstance(target, list) else rng.choice([*target, "other"])
        target[key] = rng.choice(VALUES)
    content = bytearray(json.dumps(made).encode())
    for _ in range(rng.choice([0, 0, 0, 1, 3])):
        place = rng.randrange(len(content))
        content[place : place + rng.randint(0, 3)] = rng.choice([b"", b"[" * 2000, b"\xff", b'"', b"{", b"9" * 5000])
    return bytes(content)
