"""Compile the Java sources in this folder into ``bioqa-lucene.jar`` beside them: ``python -m bioqa.index.java.build_jar``.

The jar carries a digest of the sources that it was built from, so that a test can tell when it is out of date.
"""

import hashlib
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from bioqa.errors import BioqaError, SetupError
from bioqa.index.jvm import BIOQA_JAR, find_jar

JAVAC = 17
"""Major version of the compiler: another one may write other bytes."""
DIGEST = "bioqa/sources.sha256"
_TIME = (2026, 1, 1, 0, 0, 0)


def sources() -> list[Path]:
    """The Java sources, by name."""
    return sorted(Path(__file__).parent.glob("*.java"))


def source_digest() -> str:
    """SHA-256, in hex, of the names and contents of the sources."""
    digest = hashlib.sha256()
    for source in sources():
        content = source.read_bytes()
        digest.update(f"{source.name}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()


def javac_version() -> int | None:
    """Major version of the ``javac`` on the path, None if there is none."""
    if shutil.which("javac") is None:
        return None
    done = subprocess.run(["javac", "-version"], capture_output=True, text=True, check=False)
    major = done.stdout.removeprefix("javac ").split(".")[0].strip()
    return int(major) if major.isdecimal() else None


def build_jar(path: Path) -> None:
    """Compile the sources and write the jar to ``path``.

    Raises:
        SetupError: there is no javac of major version ``JAVAC``, or it fails.
    """
    found = javac_version()
    if found != JAVAC:
        raise SetupError(f"Building the jar needs javac {JAVAC} on the PATH (found {found or 'none'}).")
    with tempfile.TemporaryDirectory() as folder:
        command = ["javac", "--release", str(JAVAC), "-d", folder, "-cp", str(find_jar()), *map(str, sources())]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SetupError(f"javac failed:\n{done.stderr}")
        entries = {file.relative_to(folder).as_posix(): file.read_bytes() for file in Path(folder).rglob("*.class")}
    entries[DIGEST] = f"{source_digest()}\n".encode()
    with zipfile.ZipFile(path, "w") as jar:
        for name, content in sorted(entries.items()):
            jar.writestr(zipfile.ZipInfo(name, _TIME), content, zipfile.ZIP_DEFLATED)


if __name__ == "__main__":
    try:
        build_jar(BIOQA_JAR)
    except BioqaError as problem:
        sys.exit(str(problem))
