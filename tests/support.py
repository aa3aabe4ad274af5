"""Names that several test files share; fixtures are in conftest.py."""

import json
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
DEMO = REPOSITORY / "data" / "demo"


def write_jsonl(path: Path, records: list[dict[str, object]]) -> Path:
    """One record a line; gives the path back."""
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    return path
