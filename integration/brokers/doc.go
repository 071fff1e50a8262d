// Package brokers starts and stops real message brokers: Redis, RabbitMQ and
// Apache Kafka, natively or with Docker compose, for tests and for people.
//
// # For tests
//
// [Redis], [RabbitMQ] and [KafkaBrokers] return the address of a shared broker
// or skip the test with one line that says what to do:
//
//	func TestX(t *testing.T) {
//		client := dial(brokers.Redis(t))
//
// [StartRedis], [StartRabbitMQ] and [StartKafka] start one that belongs to the
// test, for everything that hurts: [Instance.Kill], [Instance.Pause],
// [Instance.Restart]. It is gone when the test ends, also when the test binary
// is killed. [StartRedisSentinel] and [StartRedisCluster] start several that
// belong together. Put package proxy in front of either for faults of the network.
//
// # For people
//
// The command in integration/cmd/brokers calls [Up], [Down], [Statuses] and
// [RunCommand].
//
// # What is touched
//
// Everything lives in .brokers beside go.mod. Each process that is started
// here carries a mark in its environment, and only processes with that mark,
// or those whose id, start time and boot are in the state file, are ever
// signalled. An address that the environment gives (see [EnvRedisURL] and its
// neighbours) is used as it is.
package brokers
