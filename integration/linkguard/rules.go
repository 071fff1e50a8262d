package linkguard

// Module is the module whose packages are guarded. Its internal packages count
// for those that import them; integration and examples are programs of ours and
// link what they like.
const Module = "github.com/leat-go/leat"

// Libraries that most users of a package do not want, by module path prefix.
const (
	redisClient  = "github.com/redis/go-redis"
	rabbitClient = "github.com/rabbitmq/amqp091-go"
	kafkaClient  = "github.com/twmb/franz-go"
	telemetry    = "go.opentelemetry.io/otel"
)

// guarded lists the module prefixes that only packages which name them may link.
func guarded() []string {
	return []string{
		redisClient, rabbitClient, kafkaClient, telemetry,
		"github.com/IBM/sarama",
		"github.com/Shopify/sarama",
		"github.com/ThreeDotsLabs/watermill-", // the stock adapters
		"github.com/stretchr/testify",
		"github.com/alicebob/miniredis",
		"google.golang.org/protobuf",
	}
}

// never lists import path prefixes that no package may link, not even one that
// names their module.
func never() []string {
	return []string{
		"go.opentelemetry.io/otel/sdk",
		"go.opentelemetry.io/otel/exporters",
		"github.com/twmb/franz-go/pkg/kfake",
	}
}

// Rule says what one package may link.
type Rule struct {
	// Ceiling is the greatest allowed number of third-party packages.
	Ceiling int
	// May names the guarded modules that the package is there to use.
	May []string
	// Testing allows the standard library's testing package: suites for tests.
	Testing bool
}

// Rules returns the rule of each package, by its path below the module.
func Rules() map[string]Rule {
	return map[string]Rule{
		"codec":                 {Ceiling: 0},
		"dlq":                   {Ceiling: 8},
		"dlq/dlqtest":           {Ceiling: 8, Testing: true},
		"router":                {Ceiling: 8},
		"middleware":            {Ceiling: 9},
		"middleware/tracing":    {Ceiling: 39, May: []string{telemetry}},
		"eventbus":              {Ceiling: 39, May: []string{telemetry}},
		"eventbus/aggregate":    {Ceiling: 39, May: []string{telemetry}},
		"eventbus/eventbustest": {Ceiling: 39, May: []string{telemetry}, Testing: true},
		"eventbus/membus":       {Ceiling: 39, May: []string{telemetry}},
		"eventbus/redisbus":     {Ceiling: 60, May: []string{telemetry, redisClient}},
		"eventbus/rabbitbus":    {Ceiling: 50, May: []string{telemetry, rabbitClient}},
		"eventbus/kafkabus":     {Ceiling: 70, May: []string{telemetry, kafkaClient}},
	}
}
