"""What reaches a terminal, a pipe, an ASCII encoding, a full disk and a closed standard output; shell completion."""

import ast
import json
import logging
import os
import pty
import re
import shutil
import subprocess
import sys
import unicodedata

import pytest

from bioqa.cli.output import progress_bar
from bioqa.io.terminal import printable, printable_json
from tests.support import REPOSITORY, write_jsonl

BIOQA = [sys.executable, "-m", "bioqa"]
# An escape sequence in C0 and one in C1, a bell, a carriage return, and text that is shown backwards.
EVIL = "\x1b]0;title\x07\x1b[31mred\x9b2J\rover \u202egnp.exe\u2066"
UNSAFE = [
    chr(code)
    for code in range(sys.maxunicode + 1)
    if unicodedata.category(chr(code)) in ("Cc", "Cs") and chr(code) not in "\t\n"
] + list("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")  # Unicode's Bidi_Control
LONG = "A sentence about fever with " + "many words and " * 20 + "an end."


def unsafe(text):
    """The characters of a text that must not reach a terminal."""
    return sorted(set(text) & set(UNSAFE))


@pytest.fixture(scope="module")
def evil(tmp_path_factory):
    """A folder with files in which every text has escape sequences: index, questions, qrels, runs, pairs and submissions."""
    from bioqa import build_index

    folder = tmp_path_factory.mktemp(f"evil-{EVIL.replace('/', '')}")
    corpus = write_jsonl(
        folder / "corpus.jsonl",
        [
            {
                "id": "1",
                "title": f"Title {EVIL}",
                "text": f"Fever {EVIL} is hot. A second {EVIL} sentence.",
                "journal": f"J {EVIL}",
                "mesh": [f"Fever {EVIL}"],
                "keywords": [EVIL],
                "year": 2020,
            },
            {"id": "2", "title": "Other", "text": LONG},
        ],
    )
    build_index(folder / "index", [corpus])
    questions = [{"id": f"q{EVIL}", "body": f"fever {EVIL}?", "type": f"t{EVIL}", "documents": [f"d{EVIL}"]}]
    (folder / "gold.json").write_text(json.dumps({"questions": questions}))
    (folder / "q.tsv").write_text(f"q1\tfever {EVIL.replace(chr(13), '')}?\n")
    bidi = "\u202eq\u2066"
    (folder / "qrels").write_text(f"{bidi} 0 1 1\n")
    (folder / "run").write_text(f"{bidi} Q0 1 1 2.5 tag\n")
    write_jsonl(folder / "pairs.jsonl", [{"query": f"Q {EVIL}", "pos": [f"P {EVIL}"], "neg": [f"N {EVIL}"]}])
    write_jsonl(folder / "more.jsonl", [{"query": f"Q {EVIL}", "pos": [f"P {EVIL}"], "neg": [f"N {EVIL}"]}])
    return folder


def test_printable_text_has_no_control_characters_and_the_same_offsets():
    text = "".join(UNSAFE)
    assert not unsafe(printable(text))
    assert len(printable(f"a{text}b")) == len(text) + 2
    assert printable("a\r\nb\x0bc") == "a \nb c"
    kept = "tab\tline\nα1 – „x“ 数 \u200d\u00ad\U0001f600"
    assert printable(kept) == kept
    value = {" ".join(UNSAFE): [*UNSAFE, 1.5]}
    assert json.loads(printable_json(value)) == value
    assert not unsafe(printable_json(value))


@pytest.mark.parametrize(
    "arguments",
    [
        "search {f}/index|fever|--no-rerank",
        "search {f}/index|fever|--no-rerank|--abstracts",
        "search {f}/index|fever|--no-rerank|--explain",
        "search {f}/index|fever|--no-rerank|--json",
        "search {f}/index|fever {evil}|--no-rerank|--mesh|{evil}",
        "search {f}/index|--questions|{f}/q.tsv|--no-rerank",
        "search {f}/index|--questions|{f}/gold.json|--no-rerank",
        "search --corpus|{f}/corpus.jsonl|fever|--no-rerank",
        "show {f}/index|1",
        "show {f}/index|1|--json",
        "show {f}/index|{evil}",
        "index info|{f}/index",
        "index info|{f}/index|--json",
        "index verify|{f}/index",
        "index verify|{f}/none",
        "index build|{f}/index|{f}/corpus.jsonl",
        "index build|{f}/new|{f}/none.jsonl",
        "index build|{f}/new|{f}/corpus.jsonl|--memory|{evil}",
        "index tune|{f}/index|--questions|{f}/gold.json|--k1|{evil}",
        "eval {f}/qrels|{f}/run|--per-query",
        "eval {f}/qrels|{f}/run|--per-query|--json",
        "eval {f}/qrels|{f}/run|{evil}",
        "eval {f}/none|{f}/run",
        "bioasq validate|{f}/gold.json",
        "bioasq validate|{f}/gold.json|--json",
        "bioasq eval|{f}/gold.json|{f}/gold.json|--per-question",
        "pairs stats|{f}/pairs.jsonl",
        "pairs stats|{f}/pairs.jsonl|--json",
        "pairs check|{f}/pairs.jsonl|{f}/more.jsonl",
        "pairs check|{f}/pairs.jsonl|{f}/more.jsonl|--json",
        "bench run|{f}/none.toml",
        "bench compare|{f}/none|{f}/none",
        "train {f}/none.toml",
        "classify {f}/none.csv",
        "rerank --run|{f}/none|--questions|{f}/gold.json|--index|{f}/index|--out|{f}/out",
        "fetch pubmed|--baseline|--into|{f}/pubmed|--base-url|{evil}",
        "{evil}",
        "search {f}/index|--{evil}",
        "search {f}/index|fever|--top|{evil}",
        "--debug show|{f}/index|{evil}",
    ],
)
def test_no_command_prints_a_control_character(bioqa, evil, arguments):
    words = arguments.split(" ", 1)
    words = [words[0], *(words[1].split("|") if len(words) > 1 else [])]
    done = bioqa(*(word.replace("{f}", str(evil)).replace("{evil}", EVIL) for word in words))
    assert done.out + done.err
    assert unsafe(done.out + done.err) == []
    assert "Internal error" not in done.err


def test_json_output_has_the_text_as_it_is(bioqa, evil):
    record = json.loads(bioqa("show", evil / "index", "1", "--json").out)
    assert record["abstract"] == f"Fever {EVIL} is hot. A second {EVIL} sentence."


def in_terminal(*command, width=60, **settings):
    """What a command writes to a terminal on its standard output, and its exit code."""
    ours, theirs = pty.openpty()
    environment = {**os.environ, "COLUMNS": str(width), "TERM": "xterm", **settings}
    with subprocess.Popen(command, stdout=theirs, cwd=REPOSITORY, env=environment) as process:
        os.close(theirs)
        seen = b""
        while True:
            try:
                data = os.read(ours, 65536)
            except OSError:  # on Linux, the end of what a terminal gets
                break
            if not data:
                break
            seen += data
    os.close(ours)
    return seen.decode().replace("\r\n", "\n"), process.returncode


def without_colors(text):
    return re.sub(r"\x1b\[[0-9;]*m", "", text)


def test_a_terminal_gets_colors_and_wrapped_lines_but_no_other_control_characters(evil):
    text, code = in_terminal(*BIOQA, "search", evil / "index", "fever", "--no-rerank", "--abstracts")
    assert code == 0
    assert "\x1b[1" in text
    plain = without_colors(text)
    assert unsafe(plain) == []
    assert "»" not in plain
    assert max(map(len, plain.splitlines())) <= 60


@pytest.mark.parametrize("form", ["csv", "markdown", "latex", "table", "json"])
def test_a_table_in_a_terminal_has_no_control_characters(evil, form):
    text, code = in_terminal(*BIOQA, "eval", evil / "qrels", evil / "run", "--per-query", "--format", form)
    assert code == 0
    assert "RR@10" in text
    assert unsafe(without_colors(text)) == []


def test_a_result_in_a_terminal_has_no_control_characters_but_in_a_pipe_is_the_file(tmp_path):
    program = (
        "import sys; from bioqa.io.output import open_output\n"
        "with open_output(sys.argv[1]) as out: out.write(sys.argv[2])"
    )
    command = [sys.executable, "-c", program]
    assert in_terminal(*command, "-", EVIL) == (printable(EVIL), 0)
    piped = subprocess.run([*command, "-", EVIL], capture_output=True, check=True, cwd=REPOSITORY)
    subprocess.run([*command, tmp_path / "file", EVIL], check=True, cwd=REPOSITORY)
    assert piped.stdout == (tmp_path / "file").read_bytes() == EVIL.encode()


def test_labels_of_progress_bars_have_no_control_characters(monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    with progress_bar("questions", 3, label=EVIL) as bar:
        assert bar.desc.startswith(printable(EVIL))


def test_log_messages_have_no_control_characters(bioqa, corpus, capsys):
    bioqa("search", "--corpus", corpus, "gene", "--no-rerank")
    logging.getLogger("bioqa.rerank.workers").warning("The reranker %s ran out of memory.", EVIL)
    assert capsys.readouterr().err == f"The reranker {printable(EVIL)} ran out of memory.\n"


def test_only_output_py_writes_to_the_standard_streams():
    """So that no command can forget to make its text printable."""
    wrong = []
    for path in sorted((REPOSITORY / "bioqa" / "cli").glob("*.py")):
        if path.name == "output.py":
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            name = ast.unparse(node.func) if isinstance(node, ast.Call) else ""
            module = node.module or "" if isinstance(node, ast.ImportFrom) else ""
            writes = name in ("print", "click.echo", "click.secho", "json.dump") or name.startswith(
                ("sys.stdout.w", "sys.stderr.w")
            )
            if writes or name.endswith("bar.write") or module.split(".")[0] == "rich":
                wrong.append(f"{path.name}:{node.lineno}")
    assert wrong == []


def test_piped_text_is_not_wrapped(bioqa, evil, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "")
    for arguments in (["show", evil / "index", "2"], ["search", evil / "index", "words", "--no-rerank", "--abstracts"]):
        assert LONG in bioqa(*arguments).out
    assert (
        f"      » {LONG}\n".replace("      »", "    »") in bioqa("search", evil / "index", "words", "--no-rerank").out
    )


def test_a_piped_table_is_not_wrapped(bioqa, tmp_path):
    name = "q" * 200
    (tmp_path / "qrels").write_text(f"{name} 0 d 1\n")
    (tmp_path / "run").write_text(f"{name} Q0 d 1 2.5 tag\n")
    done = bioqa("eval", tmp_path / "qrels", tmp_path / "run", "--per-query")
    assert any(name in line and "1.0000" in line for line in done.out.splitlines())


def test_piped_abstracts_mark_the_answer_sentences_in_text(bioqa, tmp_path):
    corpus = write_jsonl(
        tmp_path / "c.jsonl",
        [{"id": "1", "title": "T", "text": "Dull start. Insulin lowers glucose. Dull end."}],
    )
    done = bioqa("search", "--corpus", corpus, "insulin glucose", "--no-rerank", "--abstracts", "--sentences", 1)
    assert "    Dull start. »Insulin lowers glucose.« Dull end.\n" in done.out


def piped(*arguments, **settings):
    return subprocess.run(
        [*BIOQA, *map(str, arguments)],
        capture_output=True,
        check=False,
        cwd=REPOSITORY,
        env={**os.environ, "COLUMNS": "80", **settings},
    )


@pytest.mark.parametrize("abstracts", [(), ("--abstracts",)])
def test_an_ascii_encoding_gets_brackets_and_question_marks(tmp_path, abstracts):
    corpus = write_jsonl(tmp_path / "c.jsonl", [{"id": "1", "title": "IL-1β", "journal": "J", "text": "IL-1β is hot."}])
    done = piped("search", "--corpus", corpus, "hot", "--no-rerank", *abstracts, PYTHONIOENCODING="ascii")
    text = done.stdout.decode("ascii")
    assert (done.returncode, done.stderr) == (0, b"")
    assert "IL-1?" in text
    assert "[IL-1? is hot.]" in text
    assert "J - https://pubmed.ncbi.nlm.nih.gov/1/ - BM25" in text


def test_an_ascii_encoding_gets_all_of_the_data(tmp_path):
    corpus = write_jsonl(tmp_path / "c.jsonl", [{"id": "é1", "title": "β", "text": "IL-1β is hot."}])
    (tmp_path / "q.tsv").write_text("β\thot\n", encoding="utf-8")
    (tmp_path / "qrels").write_text("β 0 é1 1\n", encoding="utf-8")
    command = ["search", "--corpus", corpus, "--questions", tmp_path / "q.tsv", "--no-rerank"]
    run = piped(*command, "--run", "-", PYTHONIOENCODING="ascii").stdout
    assert run.decode("utf-8").startswith("β Q0 é1 1 ")
    record = json.loads(piped(*command, "--json", PYTHONIOENCODING="ascii").stdout.decode("ascii"))
    assert (record["id"], record["hits"][0]["title"]) == ("β", "β")
    (tmp_path / "run").write_bytes(run)
    table = piped("eval", tmp_path / "qrels", tmp_path / "run", "--per-query", PYTHONIOENCODING="ascii")
    assert (table.returncode, b"?" in table.stdout, table.stdout.isascii()) == (0, True, True)


def test_help_is_shown_in_an_ascii_encoding():
    done = piped("search", "--help", PYTHONIOENCODING="ascii")
    assert done.returncode == 0
    assert "logit + WEIGHT ? the BM25 score" in done.stdout.decode("ascii")


COMMANDS = [
    "search --corpus {c} gene --no-rerank",
    "search --corpus {c} gene --no-rerank --json",
    "search --corpus {c} --questions {q} --no-rerank --run -",
    "eval {r} {t}",
    "eval {r} {t} --format csv",
    "eval {r} {t} --json",
    "pairs stats {p}",
    "search --help",
]


def shell(corpus, command, redirected):
    (corpus.parent / "q.tsv").write_text("q\tgene\n")
    (corpus.parent / "qrels").write_text("q 0 1 1\n")
    (corpus.parent / "run").write_text("q Q0 1 1 1.5 tag\n")
    pairs = write_jsonl(corpus.parent / "p.jsonl", [{"query": "q", "pos": ["a"], "neg": ["b"]}])
    line = command.format(
        c=corpus, q=corpus.parent / "q.tsv", r=corpus.parent / "qrels", t=corpus.parent / "run", p=pairs
    )
    return subprocess.run(
        ["bash", "-c", f"{sys.executable} -m bioqa {line} {redirected}"],
        capture_output=True,
        check=False,
        cwd=REPOSITORY,
    )


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full")  # noqa: PTH110
@pytest.mark.parametrize("command", COMMANDS)
def test_a_full_disk_is_an_error_of_the_output(corpus, command):
    done = shell(corpus, command, ">/dev/full")
    assert done.returncode == 7
    (line,) = [line for line in done.stderr.decode().splitlines() if not line.startswith(("Compil", "1 quer"))]
    assert "cannot be written: No space left on device." in line


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("redirected", [">&-", "| true; exit ${PIPESTATUS[0]}"])
def test_a_closed_standard_output_is_quiet(corpus, command, redirected):
    done = shell(corpus, command, redirected)
    assert done.returncode == 141
    assert [line for line in done.stderr.decode().splitlines() if not line.startswith("Compil")] == []


@pytest.mark.parametrize("redirected", ["2>&-", "2>/dev/full"])
def test_a_standard_error_that_cannot_be_written_changes_no_result(corpus, redirected):
    done = shell(corpus, "eval {r} {t} RR", redirected)
    assert done.returncode == 0
    assert b"1.0000" in done.stdout


def complete(line, shell="bash"):
    """What the completion script of a shell gets for a line whose last word is incomplete."""
    words = line.split(" ")
    environment = {"COMP_WORDS": line, "COMP_CWORD": words[-1] if shell == "fish" else str(len(words) - 1)}
    done = piped(**environment, _BIOQA_COMPLETE=f"{shell}_complete")
    assert (done.returncode, done.stderr) == (0, b"")
    return done.stdout.decode().strip("\n").splitlines()


@pytest.mark.parametrize(
    ("line", "answers"),
    [
        ("bioqa sea", ["plain,search"]),
        ("bioqa --ver", ["plain,--version"]),
        ("bioqa index ver", ["plain,verify"]),
        ("bioqa search --no-r", ["plain,--no-rerank"]),
        ("bioqa search --syntax l", ["plain,lucene"]),
        ("bioqa search --engine cpu", ["plain,cpu-int8"]),
        ("bioqa search indexes/d", ["file,indexes/d"]),
        ("bioqa search indexes/demo wh", []),
        ("bioqa search indexes/demo --questions q", ["file,q"]),
        ("bioqa search indexes/demo --run r", ["file,r"]),
        ("bioqa index build indexes/new pub", ["file,pub"]),
        ("bioqa index update indexes/new pub", ["file,pub"]),
        ("bioqa eval qrels r", ["file,r"]),
        ("bioqa eval qrels run --out r", ["file,r"]),
        ("bioqa bioasq submit index q --out s", ["file,s"]),
        ("bioqa rerank --out s", ["file,s"]),
        ("bioqa rerank --reranker m", ["file,m"]),
        ("bioqa pairs titles s", ["file,s"]),
        ("bioqa train r", ["file,r"]),
    ],
)
def test_bash_completes_commands_options_values_and_files(line, answers):
    assert complete(line) == answers


def test_all_commands_are_completed_with_their_summaries():
    from bioqa.cli.main import COMMANDS as commands

    assert complete("bioqa ") == [f"plain,{name}" for name in commands]
    assert complete("bioqa ", "fish") == [f"plain,{name}\t{summary}" for name, (_, summary) in commands.items()]
    assert complete("bioqa ", "zsh") == [
        part for name, (_, summary) in commands.items() for part in ("plain", name, summary)
    ]


@pytest.mark.parametrize(("shell", "function"), [("bash", "complete -o"), ("zsh", "compdef"), ("fish", "complete -")])
def test_each_shell_gets_a_completion_script(shell, function):
    done = piped(_BIOQA_COMPLETE=f"{shell}_source")
    assert done.returncode == 0
    assert function in done.stdout.decode()
    assert "_BIOQA_COMPLETE" in done.stdout.decode()


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
def test_bash_completes_after_reading_the_script(tmp_path):
    program = tmp_path / "bioqa"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m bioqa "$@"\n')
    program.chmod(0o755)
    script = (
        'eval "$(_BIOQA_COMPLETE=bash_source bioqa)"; COMP_WORDS=(bioqa index b); COMP_CWORD=2; '
        '_bioqa_completion bioqa; echo "${COMPREPLY[@]}"'
    )
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    done = subprocess.run(
        ["bash", "-c", script], capture_output=True, text=True, check=True, cwd=REPOSITORY, env=environment
    )
    assert done.stdout == "build\n"


def test_completion_of_commands_imports_no_command():
    program = (
        "import sys; from bioqa.cli.main import main; main([])\n"
        "print([m for m in sys.modules if m in ('bioqa.cli.search', 'rich', 'tqdm', 'numpy', 'torch')], file=sys.stderr)"
    )
    environment = {**os.environ, "_BIOQA_COMPLETE": "bash_complete", "COMP_WORDS": "bioqa s", "COMP_CWORD": "1"}
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=REPOSITORY, env=environment
    )
    assert done.stderr == "[]\n"
    assert done.stdout.split() == ["plain,search", "plain,similar", "plain,show", "plain,serve"]
