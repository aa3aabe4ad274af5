"""The requests of the own API, as pydantic models: unknown fields and wrong types are refused."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from bioqa.index.filters import Filters
from bioqa.pipeline.options import PipelineOptions
from bioqa.retrieve.options import SYNTAXES, SearchOptions

Count = Annotated[int, Field(ge=1)]
Size = Annotated[int, Field(ge=0)]
Syntax = Literal["words", "lucene"]
assert SYNTAXES == ("words", "lucene")


class FilterFields(BaseModel):
    """As ``bioqa.index.filters.Filters``."""

    model_config = ConfigDict(extra="forbid")

    since: str = ""
    until: str = ""
    journal: list[str] = []
    mesh: list[str] = []
    type: list[str] = []
    language: list[str] = []
    author: list[str] = []
    major_topic: list[str] = []
    as_of: str = ""
    has_abstract: bool = False
    exclude_retracted: bool = False

    def filters(self) -> Filters:
        """As the pipeline takes them. Raises UsageError."""
        values: dict[str, Any] = {name: getattr(self, name) for name in FilterFields.model_fields}
        return Filters(**values)


class SearchFields(BaseModel):
    """What a search may say beside its question and filters."""

    model_config = ConfigDict(extra="forbid")

    index: str | None = None
    top: Count = 10
    offset: Size = 0
    retriever: Literal["bm25"] = "bm25"
    rerank: bool = True
    rerank_depth: Count | None = None
    syntax: Syntax = "words"
    sentences: Size = 2
    explain: bool = False
    facets: list[Literal["year", "journal", "mesh", "type", "language", "author"]] = []
    facet_values: Count = 10
    max_chars: Count | None = None

    def pipeline_options(self, filters: Filters, base: PipelineOptions) -> PipelineOptions:
        """The options of the pipeline; what the request leaves open is as in ``base``. Raises UsageError."""
        search = SearchOptions(
            filters=filters,
            syntax=self.syntax,
            k1=base.search.k1,
            b=base.search.b,
            title_weight=base.search.title_weight,
            rm3=base.search.rm3,
        )
        return PipelineOptions(
            top=self.top,
            offset=self.offset,
            rerank_depth=self.rerank_depth or base.rerank_depth,
            first_stage_weight=base.first_stage_weight,
            aggregation=base.aggregation,
            overlap=base.overlap,
            sentences=self.sentences,
            explain=self.explain,
            facets=tuple(self.facets),
            facet_values=self.facet_values,
            search=search,
        )


class FilteredFields(SearchFields):
    """A body with filters; ``as_of`` may stand beside them or among them."""

    filters: FilterFields = FilterFields()
    as_of: str = ""

    def filters_in_force(self) -> Filters:
        """The filters as the pipeline takes them. Raises UsageError."""
        return self.filters.model_copy(update={"as_of": self.as_of or self.filters.as_of}).filters()


class SearchBody(FilteredFields):
    """POST /v1/search."""

    question: str


class SearchQuery(SearchFields, FilterFields):
    """GET /v1/search: the filters are parameters of their own."""

    question: str

    def body(self) -> SearchBody:
        """The same as a body."""
        given = self.model_dump(exclude_unset=True)
        filters = {name: given.pop(name) for name in FilterFields.model_fields if name in given}
        return SearchBody(**given, filters=FilterFields(**filters))


class SimilarQuery(SearchFields, FilterFields):
    """GET /v1/articles/{pmid}/similar."""


class BatchBody(FilteredFields):
    """POST /v1/search/batch: several questions with the same options."""

    questions: list[str]
