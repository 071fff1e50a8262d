package brokers

import (
	"context"
	"fmt"

	"github.com/leat-go/leat/integration/certs"
)

// answers asks a broker one request on each listener that vars names and
// returns the first failure. TLS listeners are asked only when set, the
// certificates they were started with, is known.
func answers(ctx context.Context, kind Kind, vars []Var, set *certs.Set) error {
	switch kind {
	case KindRedis:
		return redisAnswers(ctx, vars, set)
	case KindRabbit:
		return rabbitAnswers(ctx, vars, set)
	case KindKafka:
		return kafkaAnswers(ctx, vars, set)
	default:
		return fmt.Errorf("brokers: ask %q: no such broker", kind)
	}
}
