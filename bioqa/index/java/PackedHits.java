package bioqa;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.Arrays;
import java.util.List;
import java.util.stream.IntStream;
import org.apache.lucene.index.BinaryDocValues;
import org.apache.lucene.index.LeafReaderContext;
import org.apache.lucene.index.ReaderUtil;
import org.apache.lucene.util.BytesRef;

/**
 * Hits in compact form: one long per hit inside Java, one byte array per result for Python, which reads it as a single object
 * ({@code unpack_hits} in retrieve/bm25.py).
 */
final class PackedHits {
  private PackedHits() {}

  /** Document and score in one number, greatest for the best: the score's bits, which sort as positive scores do, then -1 - document. */
  static long hit(int doc, float score) {
    return (long) Float.floatToIntBits(score) << 32 | ~doc & 0xFFFFFFFFL;
  }

  private static int doc(long hit) {
    return ~(int) hit;
  }

  static float score(long hit) {
    return Float.intBitsToFloat((int) (hit >>> 32));
  }

  /**
   * The best hits, highest scores first and those of equal score by id: the number of hits, the document numbers and the scores, all of 32 bits in the machine's byte order; then the ids in UTF-8, each
   * followed by a newline.
   */
  static byte[] pack(List<LeafReaderContext> leaves, long[] hits) throws IOException {
    BytesRef[] ids = ids(leaves, hits);
    sortTies(hits, ids);
    int length = Integer.BYTES;
    for (BytesRef id : ids) {
      length += Integer.BYTES + Float.BYTES + id.length + 1;
    }
    ByteBuffer packed = ByteBuffer.allocate(length).order(ByteOrder.nativeOrder());
    packed.putInt(hits.length);
    for (long hit : hits) {
      packed.putInt(doc(hit));
    }
    for (long hit : hits) {
      packed.putFloat(score(hit));
    }
    for (BytesRef id : ids) {
      packed.put(id.bytes, id.offset, id.length).put((byte) '\n');
    }
    return packed.array();
  }

  /** Orders hits of equal score by id, and the ids with them. */
  private static void sortTies(long[] hits, BytesRef[] ids) {
    for (int begin = 0, end; begin < hits.length; begin = end) {
      end = begin + 1;
      while (end < hits.length && score(hits[end]) == score(hits[begin])) {
        end++;
      }
      if (end - begin > 1) {
        int from = begin;
        Integer[] order = new Integer[end - begin];
        Arrays.setAll(order, i -> from + i);
        Arrays.sort(order, (one, other) -> ids[one].compareTo(ids[other]));
        long[] sortedHits = Arrays.stream(order).mapToLong(i -> hits[i]).toArray();
        BytesRef[] sortedIds = Arrays.stream(order).map(i -> ids[i]).toArray(BytesRef[]::new);
        System.arraycopy(sortedHits, 0, hits, begin, sortedHits.length);
        System.arraycopy(sortedIds, 0, ids, begin, sortedIds.length);
      }
    }
  }

  /** Ids from doc values, which can only be read in document order. */
  static BytesRef[] ids(List<LeafReaderContext> leaves, long[] hits) throws IOException {
    BytesRef[] ids = new BytesRef[hits.length];
    long[] order = IntStream.range(0, hits.length).mapToLong(rank -> (long) doc(hits[rank]) << 32 | rank).toArray();
    Arrays.sort(order);
    LeafReaderContext leaf = null;
    BinaryDocValues values = null;
    for (long one : order) {
      int doc = (int) (one >>> 32);
      if (leaf == null || doc >= leaf.docBase + leaf.reader().maxDoc()) {
        leaf = leaves.get(ReaderUtil.subIndex(doc, leaves));
        values = leaf.reader().getBinaryDocValues("id");
      }
      values.advance(doc - leaf.docBase);
      ids[(int) one] = BytesRef.deepCopyOf(values.binaryValue());
    }
    return ids;
  }
}
