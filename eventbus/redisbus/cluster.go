package redisbus

import (
	"context"

	"github.com/redis/go-redis/v9"
)

// rediscover has a cluster's client ask the cluster again which node serves
// what. It does so by itself only when a node tells it that a key has moved; a
// node that died tells nothing, and ours is not the only connection to it. It
// returns at once.
func rediscover(client redis.UniversalClient) {
	if c, ok := client.(interface{ ReloadState(ctx context.Context) }); ok {
		c.ReloadState(context.Background())
	}
}
