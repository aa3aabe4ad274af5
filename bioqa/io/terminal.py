"""Text for terminals: without characters that control one, such as escape sequences and changes of writing direction."""

import json
import re
from typing import Any

# Controls (C0 but tab and newline, DEL, C1), Unicode's Bidi_Control, and lone surrogates, which no encoding holds.
_UNSAFE = re.compile("[\0-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def printable(text: str) -> str:
    """The text with a space for each control character that is white space, and U+FFFD for each other one.

    Bidi controls and lone surrogates count as control characters, tabs and newlines do not. Offsets stay the same.
    """
    return _UNSAFE.sub(lambda found: " " if found[0].isspace() else "\ufffd", text)


def printable_json(value: Any, **settings: Any) -> str:
    """JSON in which the characters that ``printable`` replaces are escaped; ``settings`` are those of ``json.dumps``."""
    text = json.dumps(value, ensure_ascii=False, **settings)
    return _UNSAFE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)
