// Prints to which partition the Java client sends a key: the key in hexadecimal,
// then its partition of 4, 7, 12 and 1000. partitions.txt is what it prints:
//
//   java -cp ".brokers/cache/kafka-4.4.0/*" \
//     eventbus/kafkabus/testdata/Partitions.java > eventbus/kafkabus/testdata/partitions.txt
import java.nio.charset.StandardCharsets;
import java.util.HexFormat;
import java.util.UUID;
import org.apache.kafka.clients.producer.internals.BuiltInPartitioner;

class Partitions {
    static void print(byte[] key) {
        StringBuilder line = new StringBuilder(HexFormat.of().formatHex(key));
        for (int n : new int[] {4, 7, 12, 1000}) {
            line.append(' ').append(BuiltInPartitioner.partitionForKey(key, n));
        }
        System.out.println(line);
    }

    static void print(String key) {
        print(key.getBytes(StandardCharsets.UTF_8));
    }

    public static void main(String[] args) {
        for (String key : new String[] {
            "a", "ab", "abc", "abcd", "21", "foobar", "a-little-bit-long-string", "a-little-bit-longer-string",
            "22222222-2222-4222-8222-222222222222", "lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8",
            "Zo\u00eb", "\u6c34\u8eca", "\ud83d\ude00", " ", "\n", "\u0000"
        }) {
            print(key);
        }
        for (int i = 0; i < 100; i++) {
            print("order-" + i);
            print(new UUID(i * 0x9E3779B97F4A7C15L, i * 0xC2B2AE3D27D4EB4FL).toString());
        }
        for (int length = 1; length < 20; length++) {
            byte[] key = new byte[length];
            for (int i = 0; i < length; i++) {
                key[i] = (byte) (255 - 13 * i * length);
            }
            print(key);
        }
    }
}
