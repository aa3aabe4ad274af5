package bioqa;

import java.io.Closeable;
import java.io.EOFException;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.FileChannel;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.Arrays;
import org.apache.lucene.util.IntroSorter;

/** Vectors on disk, found by the positions of their articles in the corpus ({@code index/vector_store.py} writes them). */
final class VectorFile implements Closeable {
  private static final int CHUNK = 1 << 20;

  final int dimension;
  private final FileChannel vectors;
  private final long[] orders;
  private final int[] rows;

  /** {@code vectors} has rows of floats, {@code orders} the article's position for each row, both in the machine's byte order. */
  VectorFile(String vectors, String orders, int dimension) throws IOException {
    this.dimension = dimension;
    this.orders = read(orders);
    this.rows = new int[this.orders.length];
    Arrays.setAll(rows, row -> row);
    sort();
    this.vectors = FileChannel.open(Path.of(vectors), StandardOpenOption.READ);
  }

  private static long[] read(String path) throws IOException {
    try (FileChannel file = FileChannel.open(Path.of(path), StandardOpenOption.READ)) {
      long[] values = new long[Math.toIntExact(file.size() / Long.BYTES)];
      ByteBuffer buffer = ByteBuffer.allocate(CHUNK).order(ByteOrder.nativeOrder());
      for (int at = 0; at < values.length; ) {
        fill(file, buffer.clear().limit((int) Math.min(CHUNK, (values.length - (long) at) * Long.BYTES)), (long) at * Long.BYTES);
        for (buffer.flip(); buffer.hasRemaining(); ) {
          values[at++] = buffer.getLong();
        }
      }
      return values;
    }
  }

  private static void fill(FileChannel file, ByteBuffer buffer, long position) throws IOException {
    while (buffer.hasRemaining()) {
      int count = file.read(buffer, position);
      if (count < 0) {
        throw new EOFException("the file of vectors is too short");
      }
      position += count;
    }
  }

  private void sort() {
    new IntroSorter() {
      private long pivot;

      @Override
      protected void swap(int i, int j) {
        long order = orders[i];
        orders[i] = orders[j];
        orders[j] = order;
        int row = rows[i];
        rows[i] = rows[j];
        rows[j] = row;
      }

      @Override
      protected void setPivot(int i) {
        pivot = orders[i];
      }

      @Override
      protected int comparePivot(int j) {
        return Long.compare(pivot, orders[j]);
      }
    }.sort(0, orders.length);
  }

  /** The row of the vector of the article at that position in the corpus, negative if there is none. */
  int row(long order) {
    int at = Arrays.binarySearch(orders, order);
    return at < 0 ? -1 : rows[at];
  }

  /** A reader of rows for one thread. */
  Rows rows() {
    return new Rows();
  }

  final class Rows {
    private final ByteBuffer buffer = ByteBuffer.allocate(dimension * Float.BYTES).order(ByteOrder.nativeOrder());

    void read(int row, float[] vector) throws IOException {
      fill(vectors, buffer.clear(), (long) row * dimension * Float.BYTES);
      buffer.flip();
      buffer.asFloatBuffer().get(vector);
    }
  }

  @Override
  public void close() throws IOException {
    vectors.close();
  }
}
