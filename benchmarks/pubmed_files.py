"""Synthetic PubMed XML files like those of NLM's yearly baseline, made from the shared abstracts, for benchmarks of index builds.

    python -m benchmarks.pubmed_files --citations 60000

Titles and abstracts are real; ids and everything else (journals, authors, affiliations, MeSH, references) are synthetic, with the
markup and roughly the amounts of the real files: 28% of the citations have no abstract, a third of the abstracts have sections, 67%
of the citations have MeSH headings. Beyond the 175,166 available abstracts, sentences are shuffled among neighbours, so that no two
citations are the same. Files depend only on the seed, are written as a stream, and stay in ``<data>/pubmed-xml`` for the next run.
"""

import argparse
import functools
import gzip
import itertools
import json
import multiprocessing
import re
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from random import Random
from typing import NamedTuple
from xml.sax.saxutils import escape

from tqdm import tqdm

from benchmarks.machine import DATA, shared_data

PER_FILE = 30_000
SEED = 2026
FIRST_PMID = 10_000_001
WINDOW = 32
"""Number of neighbouring abstracts among which sentences are shuffled."""

SHARE_ABSTRACT, SHARE_SECTIONS, SHARE_MESH, SHARE_MARKUP = 0.715, 1 / 3, 0.67, 0.12
SHARE_AFFILIATIONS, SHARE_KEYWORDS, SHARE_REFERENCES, SHARE_GRANTS = 0.6, 0.3, 0.35, 0.1
CHECK_TAGS = ("Humans", "Female", "Male", "Adult", "Middle Aged", "Aged", "Animals", "Adolescent", "Mice", "Rats")
QUALIFIERS = (
    "metabolism",
    "genetics",
    "drug effects",
    "physiology",
    "therapeutic use",
    "methods",
    "diagnosis",
    "pathology",
)
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
SECTIONS = ("BACKGROUND", "METHODS", "RESULTS", "CONCLUSIONS")
TYPES = {"D016428": "Journal Article", "D013485": "Research Support, Non-U.S. Gov't", "D016454": "Review"}
NO_XML = re.compile("[^\\t\\n\\r\\x20-\\ud7ff\\ue000-\\ufffd\\U00010000-\\U0010ffff]")
"""Characters that XML does not allow; some abstracts have them."""
HEAD = (
    '<?xml version="1.0" encoding="UTF-8"?>\n<!DOCTYPE PubmedArticleSet PUBLIC "-//NLM//DTD PubMedArticle, 1st January 2019//EN" '
    '"http://dtd.nlm.nih.gov/ncbi/pubmed/out/pubmed_190101.dtd">\n<PubmedArticleSet>\n'
)


class Text(NamedTuple):
    """Title and sentences of one abstract."""

    title: str
    sentences: list[str]


class Journal(NamedTuple):
    """A synthetic journal: full title, abbreviation, ISSN and NLM's number."""

    title: str
    short: str
    issn: str
    number: int


class Pools(NamedTuple):
    """Values that metadata is sampled from; all but the journals are XML fragments."""

    journals: list[Journal]
    authors: list[str]
    affiliations: list[str]
    mesh: list[str]
    keywords: list[str]


class FilePlan(NamedTuple):
    """One file to write: its number, the position of its first citation among all, its number of citations."""

    path: Path
    number: int
    start: int
    citations: int


def pubmed_files(data: Path, citations: int, per_file: int = PER_FILE) -> list[Path]:
    """Files under ``data`` with ``citations`` citations in total; missing ones are generated on all cores."""
    plans = list(_plans(data / "pubmed-xml" / str(per_file), citations, per_file))
    missing = [plan for plan in plans if not plan.path.exists()]
    if missing:
        missing[0].path.parent.mkdir(parents=True, exist_ok=True)
        with ProcessPoolExecutor(mp_context=multiprocessing.get_context("spawn")) as pool:
            list(tqdm(pool.map(write_file, missing), total=len(missing), desc="PubMed XML", unit="file"))
    return [plan.path for plan in plans]


def _plans(folder: Path, citations: int, per_file: int) -> Iterator[FilePlan]:
    for number, start in enumerate(range(0, citations, per_file), start=1):
        count = min(per_file, citations - start)
        part = "" if count == per_file else f"-first{count}"
        yield FilePlan(folder / f"pubmed26n{number:04d}{part}.xml.gz", number, start, count)


def write_file(plan: FilePlan) -> None:
    """Write one file, under a temporary name until it is complete."""
    rng = Random(f"{SEED}-{plan.number}")
    pools = _pools()
    unfinished = plan.path.with_suffix(".part")
    with unfinished.open("wb") as raw, gzip.GzipFile("", "wb", 6, raw, mtime=0) as file:
        file.write(HEAD.encode())
        for position, text in enumerate(_texts(plan.start, plan.citations, rng), start=plan.start):
            file.write(_citation(FIRST_PMID + position, text, pools, rng).encode())
        file.write(b"</PubmedArticleSet>\n")
    unfinished.replace(plan.path)


def abstract_files() -> list[Path]:
    """The files of real abstracts, in order."""
    return sorted((shared_data() / "abstracts").glob("abstracts-*.jsonl.gz"))


def test_questions() -> list[str]:
    """The questions of the BioASQ test split."""
    with gzip.open(shared_data() / "bioasq" / "test.json.gz", "rt", encoding="utf-8") as file:
        return [question["body"] for question in json.load(file)["questions"]]


def _lines() -> Iterator[str]:
    for path in abstract_files():
        with gzip.open(path, "rt", encoding="utf-8") as file:
            yield from file


@functools.cache
def _abstracts() -> int:
    return sum(1 for _ in _lines())


def _texts(start: int, count: int, rng: Random) -> Iterator[Text]:
    """Texts for the citations from position ``start`` on; sentences are shuffled once the real abstracts are used up."""
    first_round, skip = divmod(start, _abstracts())
    lines = itertools.chain.from_iterable(_lines() for _ in itertools.count())
    chosen = map(_text, itertools.islice(lines, skip, skip + count))
    position = skip
    while window := list(itertools.islice(chosen, WINDOW)):
        reused = first_round or position >= _abstracts()
        yield from _shuffled(window, rng) if reused else window
        position += len(window)


def _text(line: str) -> Text:
    record = json.loads(line)
    record = {name: NO_XML.sub(" ", value) for name, value in record.items() if name in ("title", "text")}
    sentences = re.split(r"(?<=[.!?])\s+", record["text"])
    return Text(record.get("title") or sentences[0], sentences)


def _shuffled(window: Sequence[Text], rng: Random) -> Iterator[Text]:
    titles = [text.title for text in window]
    sentences = [sentence for text in window for sentence in text.sentences]
    rng.shuffle(titles)
    rng.shuffle(sentences)
    rest = iter(sentences)
    for title, text in zip(titles, window, strict=True):
        yield Text(title, list(itertools.islice(rest, len(text.sentences))))


def _word(rng: Random) -> str:
    syllables = rng.choices(
        ("ba", "cor", "den", "fi", "gal", "he", "lin", "mo", "nor", "pe", "ra", "sti", "tu", "vo"), k=3
    )
    return "".join(syllables).capitalize()


@functools.cache
def _pools() -> Pools:
    """The same in every process; there are few names, so that they recur as in PubMed."""
    rng = Random(SEED)
    words = [_word(rng) for _ in range(1500)]
    return Pools(
        [_journal(rng, words) for _ in range(3000)],
        [_author(rng, words) for _ in range(20_000)],
        [_affiliation(rng, words) for _ in range(6000)],
        [_heading(rng, words) for _ in range(12_000)],
        [f"{rng.choice(words).lower()} {rng.choice(words).lower()}" for _ in range(8000)],
    )


def _journal(rng: Random, words: Sequence[str]) -> Journal:
    one, two = rng.choices(words, k=2)
    kind = rng.choice(("Journal of", "Annals of", "Archives of", "International journal of"))
    issn = f"{rng.randrange(1000, 3000)}-{rng.randrange(1000, 10_000)}"
    return Journal(f"{kind} {one.lower()} {two.lower()}", f"J {one[:5]} {two[:4]}", issn, rng.randrange(10**5, 10**8))


def _author(rng: Random, words: Sequence[str]) -> str:
    first, last = rng.choices(words, k=2)
    middle = rng.choice("ABCDEFGHJKLMNPRST")
    return f"<LastName>{last}</LastName><ForeName>{first} {middle}</ForeName><Initials>{first[0]}{middle}</Initials>"


def _affiliation(rng: Random, words: Sequence[str]) -> str:
    one, two, city = rng.choices(words, k=3)
    field = rng.choice(
        ("Medicine", "Biochemistry", "Surgery", "Microbiology", "Pediatrics", "Neurology", "Public Health")
    )
    mail = f" {one.lower()}@{two.lower()}.edu." if rng.random() < 0.2 else ""
    where = rng.choice(
        ("USA", "China", "Germany", "United Kingdom", "Japan", "Italy", "India", "Brazil", "France", "Spain")
    )
    name = f"Department of {field}, Faculty of {one} Sciences, University of {two}, {city}, {where}.{mail}"
    return f"<AffiliationInfo><Affiliation>{name}</Affiliation></AffiliationInfo>"


def _heading(rng: Random, words: Sequence[str]) -> str:
    one, two = rng.choices(words, k=2)
    name = rng.choice(("{} Neoplasms", "Receptors, {}", "{} Diseases", "{}", "{} {}", "{} Proteins", "Models, {}"))
    ui, major = rng.randrange(10**5), rng.choice("YN")
    heading = f'<DescriptorName UI="D{ui:06d}" MajorTopicYN="{major}">{name.format(one, two)}</DescriptorName>'
    for qualifier in rng.choices(QUALIFIERS, k=rng.choice((0, 0, 1, 1, 2))):
        ui = QUALIFIERS.index(qualifier) + 150
        heading += f'<QualifierName UI="Q{ui:06d}" MajorTopicYN="{major}">{qualifier}</QualifierName>'
    return f"<MeshHeading>{heading}</MeshHeading>"


def _often(rng: Random, pool: Sequence[str], count: int) -> list[str]:
    """Sample from a pool, its first members far more often than its last."""
    size = len(pool)
    return [pool[int(size * rng.random() ** 3)] for _ in range(count)]


def _date(rng: Random, year: int) -> str:
    return f"<Year>{year}</Year><Month>{rng.randrange(1, 13):02d}</Month><Day>{rng.randrange(1, 29):02d}</Day>"


def _citation(pmid: int, text: Text, pools: Pools, rng: Random) -> str:
    journal = pools.journals[int(len(pools.journals) * rng.random() ** 2)]
    year = 2025 - int(45 * rng.random() ** 2)
    doi = f"10.{rng.randrange(1000, 1100)}/{journal.short[2:6].lower()}.{year}.{pmid % 10**5:05d}"
    page = rng.randrange(1, 2000)
    issue = (
        f"<Volume>{year - 1960}</Volume><Issue>{rng.randrange(1, 13)}</Issue><PubDate><Year>{year}</Year>"
        f"<Month>{rng.choice(MONTHS)}</Month></PubDate>"
    )
    status = "MEDLINE" if rng.random() < SHARE_MESH else "PubMed-not-MEDLINE"
    return (
        f'<PubmedArticle><MedlineCitation Status="{status}" IndexingMethod="Automated" Owner="NLM"><PMID Version="1">{pmid}</PMID>'
        f"<DateCompleted>{_date(rng, year)}</DateCompleted><DateRevised>{_date(rng, 2025)}</DateRevised>"
        f'<Article PubModel="Print-Electronic"><Journal><ISSN IssnType="Electronic">{journal.issn}</ISSN>'
        f'<JournalIssue CitedMedium="Internet">{issue}</JournalIssue><Title>{journal.title}</Title>'
        f"<ISOAbbreviation>{journal.short}</ISOAbbreviation></Journal><ArticleTitle>{_marked(text.title, rng)}</ArticleTitle>"
        f"<Pagination><StartPage>{page}</StartPage><EndPage>{page + 9}</EndPage>"
        f"<MedlinePgn>{page}-{page + 9}</MedlinePgn></Pagination>"
        f'<ELocationID EIdType="doi" ValidYN="Y">{doi}</ELocationID>{_abstract(text, rng)}{_authors(pools, rng)}'
        f"<Language>eng</Language>{_grants(rng)}<PublicationTypeList>{_types(rng)}</PublicationTypeList></Article>"
        f"<MedlineJournalInfo><Country>United States</Country><MedlineTA>{journal.short}</MedlineTA><NlmUniqueID>{journal.number}"
        f"</NlmUniqueID><ISSNLinking>{journal.issn}</ISSNLinking></MedlineJournalInfo><CitationSubset>IM</CitationSubset>"
        f"{_mesh(pools, rng) if status == 'MEDLINE' else ''}{_keywords(pools, rng)}</MedlineCitation>"
        f"<PubmedData><History>{_history(rng, year)}</History><PublicationStatus>ppublish</PublicationStatus><ArticleIdList>"
        f'<ArticleId IdType="pubmed">{pmid}</ArticleId><ArticleId IdType="doi">{doi}</ArticleId></ArticleIdList>'
        f"{_references(pools, rng)}</PubmedData></PubmedArticle>\n"
    )


def _marked(text: str, rng: Random) -> str:
    """Escaped text, sometimes with one word in italics, superscript or subscript."""
    text = escape(text)
    if rng.random() < SHARE_MARKUP:
        words = text.split(" ")
        tag, at = rng.choice(("i", "i", "sub", "sup")), rng.randrange(len(words))
        words[at] = f"<{tag}>{words[at]}</{tag}>"
        text = " ".join(words)
    return text


def _abstract(text: Text, rng: Random) -> str:
    if rng.random() >= SHARE_ABSTRACT:
        return ""
    sentences = text.sentences
    if rng.random() >= SHARE_SECTIONS or len(sentences) < len(SECTIONS):
        return f"<Abstract><AbstractText>{_marked(' '.join(sentences), rng)}</AbstractText></Abstract>"
    bounds = [len(sentences) * part // len(SECTIONS) for part in range(len(SECTIONS) + 1)]
    parts = (
        f'<AbstractText Label="{label}" NlmCategory="{label}">{_marked(" ".join(sentences[begin:end]), rng)}</AbstractText>'
        for label, (begin, end) in zip(SECTIONS, itertools.pairwise(bounds), strict=True)
    )
    return f"<Abstract>{''.join(parts)}</Abstract>"


def _authors(pools: Pools, rng: Random) -> str:
    affiliated = rng.random() < SHARE_AFFILIATIONS
    home = rng.choice(pools.affiliations)
    out = []
    for author in rng.choices(pools.authors, k=min(1 + int(rng.expovariate(0.22)), 40)):
        place = (home if rng.random() < 0.5 else rng.choice(pools.affiliations)) if affiliated else ""
        out.append(f'<Author ValidYN="Y">{author}{place}</Author>')
    return f'<AuthorList CompleteYN="Y">{"".join(out)}</AuthorList>'


def _grants(rng: Random) -> str:
    if rng.random() >= SHARE_GRANTS:
        return ""
    grant = f"<GrantID>R01 CA{rng.randrange(10**6):06d}</GrantID><Acronym>CA</Acronym><Agency>NCI NIH HHS</Agency>"
    return f'<GrantList CompleteYN="Y"><Grant>{grant}<Country>United States</Country></Grant></GrantList>'


def _types(rng: Random) -> str:
    chosen = [ui for ui, share in zip(TYPES, (0.95, 0.3, 0.1), strict=True) if rng.random() < share] or list(TYPES)[:1]
    return "".join(f'<PublicationType UI="{ui}">{TYPES[ui]}</PublicationType>' for ui in chosen)


def _mesh(pools: Pools, rng: Random) -> str:
    tags = (
        f'<MeshHeading><DescriptorName UI="D{6800 + tag:06d}" MajorTopicYN="N">{CHECK_TAGS[tag]}</DescriptorName></MeshHeading>'
        for tag in sorted(rng.sample(range(len(CHECK_TAGS)), rng.randrange(1, 6)))
    )
    headings = _often(rng, pools.mesh, rng.randrange(3, 14))
    return f"<MeshHeadingList>{''.join(tags)}{''.join(headings)}</MeshHeadingList>"


def _keywords(pools: Pools, rng: Random) -> str:
    if rng.random() >= SHARE_KEYWORDS:
        return ""
    words = _often(rng, pools.keywords, rng.randrange(3, 8))
    listed = "".join(f'<Keyword MajorTopicYN="N">{word}</Keyword>' for word in words)
    return f'<KeywordList Owner="NOTNLM">{listed}</KeywordList>'


def _history(rng: Random, year: int) -> str:
    names = ("received", "accepted", "pubmed", "medline", "entrez")
    clock = "<Hour>6</Hour><Minute>0</Minute>"
    return "".join(
        f'<PubMedPubDate PubStatus="{name}">{_date(rng, year)}{clock if at > 1 else ""}</PubMedPubDate>'
        for at, name in enumerate(names)
    )


def _references(pools: Pools, rng: Random) -> str:
    if rng.random() >= SHARE_REFERENCES:
        return ""
    listed = []
    for journal in rng.choices(pools.journals, k=1 + int(rng.expovariate(1 / 28))):
        year, page = rng.randrange(1990, 2025), rng.randrange(1, 3000)
        cited = f"{journal.short}. {year} {rng.choice(MONTHS)};{year - 1960}({page % 12 + 1}):{page}-{page % 90 + 10}"
        listed.append(
            f"<Reference><Citation>{cited}</Citation><ArticleIdList>"
            f'<ArticleId IdType="pubmed">{rng.randrange(10**6, 4 * 10**7)}</ArticleId></ArticleIdList></Reference>'
        )
    return f"<ReferenceList>{''.join(listed)}</ReferenceList>"


def density(paths: Iterable[Path]) -> dict[str, float]:
    """Citations, bytes of XML and of gzip per citation, and the average number of each element per citation."""
    citations = plain = packed = 0
    counts = dict.fromkeys(
        ("Abstract>", "MeshHeadingList>", "MeshHeading>", "Author ", "Affiliation>", "Reference>"), 0
    )
    for path in paths:
        packed += path.stat().st_size
        with gzip.open(path, "rb") as file:
            content = file.read()
        plain += len(content)
        citations += content.count(b"<MedlineCitation ")
        for name in counts:
            counts[name] += content.count(f"<{name}".encode())
    shares = {name.strip(" >"): round(count / citations, 2) for name, count in counts.items()}
    return {"citations": citations, "xml_bytes": plain // citations, "gzip_bytes": packed // citations, **shares}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--citations", type=int, default=PER_FILE)
    parser.add_argument("--per-file", type=int, default=PER_FILE)
    parser.add_argument("--data", type=Path, default=DATA)
    options = parser.parse_args()
    made = pubmed_files(options.data, options.citations, options.per_file)
    real = shared_data() / "pubmed-xml"
    print("made           ", density(made[:3]))
    print("real, large    ", density(sorted((real / "large").glob("*.gz"))))
    print("real, baselines", density(sorted((real / "baseline").glob("*.gz"))))


if __name__ == "__main__":
    main()
