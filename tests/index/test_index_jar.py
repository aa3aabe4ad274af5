"""The committed jar is the one that the Java sources beside it compile to."""

import zipfile

import pytest

from bioqa.index.java.build_jar import DIGEST, JAVAC, build_jar, javac_version, source_digest
from bioqa.index.jvm import BIOQA_JAR


def entries(jar):
    with zipfile.ZipFile(jar) as opened:
        return {name: opened.read(name) for name in opened.namelist()}


def test_the_jar_carries_the_digest_of_its_sources():
    assert entries(BIOQA_JAR)[DIGEST].decode().strip() == source_digest(), "the Java sources changed: run `make jar`"


def test_the_sources_compile_to_the_committed_classes(tmp_path):
    found = javac_version()
    if found != JAVAC:
        pytest.skip(f"compiling to the same bytes needs javac {JAVAC}; this machine has {found or 'none'}")
    build_jar(tmp_path / "built.jar")
    assert entries(tmp_path / "built.jar") == entries(BIOQA_JAR)
