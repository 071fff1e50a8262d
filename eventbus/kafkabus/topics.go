package kafkabus

import (
	"context"
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/leat-go/leat/eventbus/internal/transport"
)

// TopicConfig says what becomes of a topic that is not there. The zero value
// creates it with the broker's own defaults.
type TopicConfig struct {
	// DisableCreation makes a missing topic an error.
	DisableCreation bool
	// Partitions of a topic that is created. 0 means the broker's num.partitions.
	// A topic of dead letters gets as many as its main topic has.
	Partitions int
	// ReplicationFactor of a topic that is created. 0 means the broker's
	// default.replication.factor.
	ReplicationFactor int
}

func (c TopicConfig) check(config string) (errs []error) {
	if c.Partitions < 0 || c.Partitions > 1<<20 {
		errs = append(errs, fmt.Errorf("kafkabus: %s.Topics.Partitions: must not be negative, nor a million", config))
	}
	if c.ReplicationFactor < 0 || c.ReplicationFactor > 1<<10 {
		errs = append(errs, fmt.Errorf("kafkabus: %s.Topics.ReplicationFactor: must not be negative, nor a thousand", config))
	}
	return errs
}

// ensureTopic returns the number of partitions of a topic, which it creates if
// it is missing and that is allowed. The error is a [*TopicError] or that of
// the connection. Several processes may do so at the same time.
func ensureTopic(ctx context.Context, client *kgo.Client, topic string, cfg TopicConfig) (int, error) {
	admin := kadm.NewClient(client)
	n, err := partitionsOf(ctx, admin, topic)
	if err == nil || !missing(err) {
		return n, err
	}
	if cfg.DisableCreation {
		return 0, &TopicError{Topic: topic, Setting: "Topics.DisableCreation is set", Err: refused(err)}
	}
	partitions, replicas := int32(-1), int16(-1)
	if cfg.Partitions > 0 {
		partitions = int32(cfg.Partitions)
	}
	if cfg.ReplicationFactor > 0 {
		replicas = int16(cfg.ReplicationFactor)
	}
	_, err = admin.CreateTopic(ctx, partitions, replicas, nil, topic)
	switch {
	case err == nil, errors.Is(err, kerr.TopicAlreadyExists):
	case errors.Is(err, kerr.TopicAuthorizationFailed), errors.Is(err, kerr.ClusterAuthorizationFailed):
		return 0, &TopicError{Topic: topic, Setting: "the user may not create topics: create it, or grant CREATE", Err: refused(err)}
	case errors.Is(err, kerr.InvalidPartitions):
		return 0, &TopicError{Topic: topic, Setting: "Topics.Partitions", Err: refused(err)}
	case errors.Is(err, kerr.InvalidReplicationFactor):
		return 0, &TopicError{Topic: topic, Setting: "Topics.ReplicationFactor", Err: refused(err)}
	case isAnswer(err):
		return 0, &TopicError{Topic: topic, Setting: "the brokers refuse it", Err: refused(err)}
	default:
		return 0, fmt.Errorf("create topic %q: %w", topic, err)
	}
	return awaitTopic(ctx, admin, topic)
}

// awaitTopic waits until the brokers know the topic and its leaders.
func awaitTopic(ctx context.Context, admin *kadm.Client, topic string) (int, error) {
	var pause transport.Backoff
	for {
		n, err := partitionsOf(ctx, admin, topic)
		if err == nil {
			return n, nil
		}
		if !missing(err) && !kerr.IsRetriable(err) {
			return 0, err
		}
		if !pause.Wait(ctx) {
			return 0, fmt.Errorf("await topic %q: %w", topic, cause(ctx, err))
		}
	}
}

func partitionsOf(ctx context.Context, admin *kadm.Client, topic string) (int, error) {
	topics, err := admin.ListTopics(ctx, topic)
	if err != nil {
		return 0, refused(err)
	}
	detail := topics[topic]
	if detail.Err != nil {
		return 0, detail.Err
	}
	for _, p := range detail.Partitions {
		if p.Err != nil {
			return 0, p.Err
		}
	}
	if len(detail.Partitions) == 0 {
		return 0, kerr.UnknownTopicOrPartition
	}
	return len(detail.Partitions), nil
}

func missing(err error) bool {
	return errors.Is(err, kerr.UnknownTopicOrPartition) || errors.Is(err, kerr.UnknownTopicID)
}

// madeAnew reports that a topic was deleted and is there again: the client
// sticks to the old one until it is told to forget it.
func madeAnew(err error) bool { return errors.Is(err, kerr.UnknownTopicID) }

func isAnswer(err error) bool {
	var answer *kerr.Error
	return errors.As(err, &answer)
}
