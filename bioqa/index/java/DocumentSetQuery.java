package bioqa;

import java.util.Arrays;
import org.apache.lucene.index.IndexReader;
import org.apache.lucene.index.LeafReaderContext;
import org.apache.lucene.search.ConstantScoreScorer;
import org.apache.lucene.search.ConstantScoreWeight;
import org.apache.lucene.search.IndexSearcher;
import org.apache.lucene.search.Query;
import org.apache.lucene.search.QueryVisitor;
import org.apache.lucene.search.ScoreMode;
import org.apache.lucene.search.Scorer;
import org.apache.lucene.search.Weight;
import org.apache.lucene.util.BitSetIterator;
import org.apache.lucene.util.FixedBitSet;

/** Matches the documents of a set that was computed for one reader. */
final class DocumentSetQuery extends Query {
  private final Object reader;
  private final FixedBitSet[] documents;
  private final int[] counts;

  /** {@code documents} has a set for each segment of the reader. */
  DocumentSetQuery(IndexReader reader, FixedBitSet[] documents) {
    this.reader = reader.getContext().id();
    this.documents = documents;
    this.counts = Arrays.stream(documents).mapToInt(FixedBitSet::cardinality).toArray();
  }

  @Override
  public Weight createWeight(IndexSearcher searcher, ScoreMode mode, float boost) {
    if (searcher.getTopReaderContext().id() != reader) {
      throw new IllegalStateException("the set belongs to another reader");
    }
    return new ConstantScoreWeight(this, boost) {
      @Override
      public Scorer scorer(LeafReaderContext context) {
        int count = counts[context.ord];
        return count == 0 ? null : new ConstantScoreScorer(this, score(), mode, new BitSetIterator(documents[context.ord], count));
      }

      @Override
      public boolean isCacheable(LeafReaderContext context) {
        return false;
      }
    };
  }

  @Override
  public void visit(QueryVisitor visitor) {
    visitor.visitLeaf(this);
  }

  @Override
  public String toString(String field) {
    return "DocumentSet";
  }

  @Override
  public boolean equals(Object other) {
    return this == other;
  }

  @Override
  public int hashCode() {
    return System.identityHashCode(this);
  }
}
