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
import org.apache.lucene.util.NumericUtils;

/**
 * Hits in compact form: one long per hit inside Java, one byte array per result for Python, which reads it as a single object
 * ({@code unpack_hits} in retrieve/bm25.py).
 */
final class PackedHits {
  /** Ties of up to this many hits are sorted by insertion, without objects. */
  private static final int SHORT = 32;

  private PackedHits() {}

  /** Document and score in one number, greatest for the best: the score as an integer that sorts as it does, then -1 - document. */
  static long hit(int doc, float score) {
    return (long) NumericUtils.floatToSortableInt(score) << 32 | ~doc & 0xFFFFFFFFL;
  }

  private static int doc(long hit) {
    return ~(int) hit;
  }

  static float score(long hit) {
    return NumericUtils.sortableIntToFloat((int) (hit >>> 32));
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
      while (end < hits.length && hits[end] >>> 32 == hits[begin] >>> 32) {
        end++;
      }
      if (end - begin > SHORT) {
        sortLong(hits, ids, begin, end);
      } else if (end - begin > 1) {
        sortShort(hits, ids, begin, end);
      }
    }
  }

  private static void sortShort(long[] hits, BytesRef[] ids, int begin, int end) {
    for (int i = begin + 1; i < end; i++) {
      long hit = hits[i];
      BytesRef id = ids[i];
      int at = i;
      for (; at > begin && ids[at - 1].compareTo(id) > 0; at--) {
        hits[at] = hits[at - 1];
        ids[at] = ids[at - 1];
      }
      hits[at] = hit;
      ids[at] = id;
    }
  }

  private static void sortLong(long[] hits, BytesRef[] ids, int begin, int end) {
    Integer[] order = IntStream.range(begin, end).boxed().toArray(Integer[]::new);
    Arrays.sort(order, (one, other) -> ids[one].compareTo(ids[other]));
    long[] sortedHits = Arrays.stream(order).mapToLong(i -> hits[i]).toArray();
    BytesRef[] sortedIds = Arrays.stream(order).map(i -> ids[i]).toArray(BytesRef[]::new);
    System.arraycopy(sortedHits, 0, hits, begin, sortedHits.length);
    System.arraycopy(sortedIds, 0, ids, begin, sortedIds.length);
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
