package bioqa;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import org.apache.lucene.codecs.KnnVectorsReader;
import org.apache.lucene.document.KnnFloatVectorField;
import org.apache.lucene.index.ByteVectorValues;
import org.apache.lucene.index.CodecReader;
import org.apache.lucene.index.DirectoryReader;
import org.apache.lucene.index.DocValuesType;
import org.apache.lucene.index.FieldInfo;
import org.apache.lucene.index.FieldInfos;
import org.apache.lucene.index.FilterCodecReader;
import org.apache.lucene.index.FloatVectorValues;
import org.apache.lucene.index.IndexOptions;
import org.apache.lucene.index.IndexReader;
import org.apache.lucene.index.IndexWriter;
import org.apache.lucene.index.LeafReaderContext;
import org.apache.lucene.index.MergePolicy;
import org.apache.lucene.index.NoMergePolicy;
import org.apache.lucene.index.NumericDocValues;
import org.apache.lucene.index.VectorEncoding;
import org.apache.lucene.index.VectorSimilarityFunction;
import org.apache.lucene.search.KnnCollector;
import org.apache.lucene.util.Bits;

/**
 * Gives the documents of an index vectors. Each segment is merged into one of the same documents with one field more, so that no text is
 * analyzed again, document numbers stay, and BM25's statistics too.
 */
public final class VectorWriter {
  static final String FIELD = "vector";

  private VectorWriter() {}

  /** Lucene's similarity for vectors compared by "cosine", which must be of length 1, or by "dot". */
  static VectorSimilarityFunction similarity(String name) {
    return name.equals("cosine") ? VectorSimilarityFunction.DOT_PRODUCT : VectorSimilarityFunction.MAXIMUM_INNER_PRODUCT;
  }

  /** The field of a vector for a new document: the one at that place among {@code vectors}; null if its first value is not a number. */
  static KnnFloatVectorField field(byte[] vectors, int place, int dimension, String similarity) {
    float[] vector = new float[dimension];
    ByteBuffer.wrap(vectors).order(ByteOrder.nativeOrder()).asFloatBuffer().position(place * dimension).get(vector);
    return Float.isNaN(vector[0]) ? null : new KnnFloatVectorField(FIELD, vector, similarity(similarity));
  }

  /**
   * The positions in the corpus of the documents from {@code begin} to {@code end}, 64 bits each in the machine's byte order; -1 for
   * documents that are deleted or, if {@code missing}, have a vector.
   */
  public static byte[] orders(IndexReader reader, int begin, int end, boolean missing) throws IOException {
    ByteBuffer found = ByteBuffer.allocate((end - begin) * Long.BYTES).order(ByteOrder.nativeOrder());
    for (LeafReaderContext leaf : reader.leaves()) {
      int first = Math.max(begin - leaf.docBase, 0);
      int last = Math.min(end - leaf.docBase, leaf.reader().maxDoc());
      if (first >= last) {
        continue;
      }
      NumericDocValues orders = leaf.reader().getNumericDocValues("order");
      Bits live = leaf.reader().getLiveDocs();
      FloatVectorValues vectors = missing ? leaf.reader().getFloatVectorValues(FIELD) : null;
      int next = vectors == null ? Integer.MAX_VALUE : vectors.advance(first);
      for (int doc = first; doc < last; doc++) {
        if (next < doc) {
          next = vectors.advance(doc);
        }
        boolean wanted = (live == null || live.get(doc)) && next != doc && orders.advanceExact(doc);
        found.putLong(wanted ? orders.longValue() : -1);
      }
    }
    return found.array();
  }

  /**
   * Replaces all documents of the writer, which must be those of the reader, by the same with vectors: those in the files, else, if
   * {@code keep}, those that they have. Merging is off meanwhile. Returns how many documents have a vector.
   */
  public static int write(
      IndexWriter writer, DirectoryReader reader, String vectors, String orders, int dimension, String similarity, boolean keep)
      throws IOException {
    MergePolicy policy = writer.getConfig().getMergePolicy();
    writer.getConfig().setMergePolicy(NoMergePolicy.INSTANCE);
    int count = 0;
    try (VectorFile file = new VectorFile(vectors, orders, dimension)) {
      List<WithVectors> leaves = new ArrayList<>();
      for (LeafReaderContext leaf : reader.leaves()) {
        WithVectors one = new WithVectors((CodecReader) leaf.reader(), file, similarity(similarity), keep);
        leaves.add(one);
        count += one.count;
      }
      writer.deleteAll();
      for (WithVectors leaf : leaves) {
        writer.addIndexes(leaf);
      }
    }
    deleteAgain(writer, reader);
    writer.getConfig().setMergePolicy(policy);
    return count;
  }

  /** Deletes the documents that are deleted in the reader: the same numbers, as every segment was copied as a whole. */
  private static void deleteAgain(IndexWriter writer, DirectoryReader reader) throws IOException {
    try (DirectoryReader copy = DirectoryReader.open(writer)) {
      for (int i = 0; i < reader.leaves().size(); i++) {
        LeafReaderContext leaf = reader.leaves().get(i);
        if (copy.leaves().get(i).reader().maxDoc() != leaf.reader().maxDoc()) {
          throw new IllegalStateException("a segment has changed");
        }
        Bits live = leaf.reader().getLiveDocs();
        for (int doc = 0; live != null && doc < live.length(); doc++) {
          if (!live.get(doc) && writer.tryDeleteDocument(copy, leaf.docBase + doc) == -1) {
            throw new IllegalStateException("a segment has changed");
          }
        }
      }
    }
  }

  /** A segment with all of its documents, deleted ones too, and their vectors. */
  private static final class WithVectors extends FilterCodecReader {
    /** Rows in the file for documents without a vector, and for those that keep theirs. */
    private static final int NONE = -1, KEPT = -2;

    private final VectorFile file;
    private final VectorSimilarityFunction similarity;
    private final int[] rows;
    final int count;

    WithVectors(CodecReader in, VectorFile file, VectorSimilarityFunction similarity, boolean keep) throws IOException {
      super(in);
      this.file = file;
      this.similarity = similarity;
      this.rows = new int[in.maxDoc()];
      NumericDocValues orders = in.getNumericDocValues("order");
      FloatVectorValues kept = keep ? in.getFloatVectorValues(FIELD) : null;
      int next = kept == null ? Integer.MAX_VALUE : kept.nextDoc();
      int found = 0;
      for (int doc = 0; doc < rows.length; doc++) {
        int row = orders.advanceExact(doc) ? file.row(orders.longValue()) : NONE;
        rows[doc] = row >= 0 ? row : next == doc ? KEPT : NONE;
        found += rows[doc] == NONE ? 0 : 1;
        if (next == doc) {
          next = kept.nextDoc();
        }
      }
      count = found;
    }

    @Override
    public Bits getLiveDocs() {
      return null;
    }

    @Override
    public int numDocs() {
      return maxDoc();
    }

    @Override
    public FieldInfos getFieldInfos() {
      List<FieldInfo> fields = new ArrayList<>();
      int number = 0;
      for (FieldInfo field : in.getFieldInfos()) {
        number = Math.max(number, field.number + 1);
        if (!field.name.equals(FIELD)) {
          fields.add(field);
        }
      }
      if (count > 0) {
        FieldInfo old = in.getFieldInfos().fieldInfo(FIELD);
        fields.add(
            new FieldInfo(
                FIELD, old == null ? number : old.number, false, false, false, IndexOptions.NONE, DocValuesType.NONE, -1, new HashMap<>(),
                0, 0, 0, file.dimension, VectorEncoding.FLOAT32, similarity, false));
      }
      return new FieldInfos(fields.toArray(new FieldInfo[0]));
    }

    @Override
    public KnnVectorsReader getVectorReader() {
      return count == 0 ? null : new Vectors();
    }

    @Override
    public CacheHelper getCoreCacheHelper() {
      return null;
    }

    @Override
    public CacheHelper getReaderCacheHelper() {
      return null;
    }

    private final class Vectors extends KnnVectorsReader {
      @Override
      public FloatVectorValues getFloatVectorValues(String field) throws IOException {
        FloatVectorValues kept = in.getFieldInfos().fieldInfo(FIELD) == null ? null : in.getFloatVectorValues(FIELD);
        return new Values(kept);
      }

      @Override
      public ByteVectorValues getByteVectorValues(String field) {
        throw new UnsupportedOperationException();
      }

      @Override
      public void search(String field, float[] target, KnnCollector collector, Bits accept) {
        throw new UnsupportedOperationException();
      }

      @Override
      public void search(String field, byte[] target, KnnCollector collector, Bits accept) {
        throw new UnsupportedOperationException();
      }

      @Override
      public void checkIntegrity() {}

      @Override
      public long ramBytesUsed() {
        return 0;
      }

      @Override
      public void close() {}
    }

    private final class Values extends FloatVectorValues {
      private final FloatVectorValues kept;
      private final VectorFile.Rows reader = file.rows();
      private final float[] vector = new float[file.dimension];
      private int doc = -1;

      Values(FloatVectorValues kept) {
        this.kept = kept;
      }

      @Override
      public int dimension() {
        return file.dimension;
      }

      @Override
      public int size() {
        return count;
      }

      @Override
      public float[] vectorValue() throws IOException {
        if (rows[doc] == KEPT) {
          if (kept.docID() < doc) {
            kept.advance(doc);
          }
          return kept.vectorValue();
        }
        reader.read(rows[doc], vector);
        return vector;
      }

      @Override
      public int docID() {
        return doc;
      }

      @Override
      public int nextDoc() {
        return advance(doc + 1);
      }

      @Override
      public int advance(int target) {
        for (doc = target; doc < rows.length && rows[doc] == NONE; ) {
          doc++;
        }
        return doc < rows.length ? doc : (doc = NO_MORE_DOCS);
      }
    }
  }
}
