package brokers

import (
	"fmt"
	"slices"
	"strings"
)

// Kind names a broker product: the word used by flags, by LEAT_TEST_REQUIRE
// and for folders.
type Kind string

// The brokers that this package can start.
const (
	KindRedis  Kind = "redis"
	KindRabbit Kind = "rabbit"
	KindKafka  Kind = "kafka"
)

// Kinds lists all of them, in the order they are printed.
func Kinds() []Kind { return []Kind{KindRedis, KindRabbit, KindKafka} }

// ParseKinds reads a comma separated list such as "redis,kafka". Spaces and
// empty items are ignored, "rabbitmq" is another word for "rabbit", "all" and
// the empty text mean every kind. The result has the order of [Kinds] and no
// duplicates.
func ParseKinds(list string) ([]Kind, error) {
	named, err := parseNamed(list)
	if err != nil {
		return nil, err
	}
	if len(named) == 0 {
		return Kinds(), nil
	}

	return named, nil
}

// parseNamed is [ParseKinds] without the meaning of the empty text.
func parseNamed(list string) ([]Kind, error) {
	var found []Kind
	for word := range strings.SplitSeq(list, ",") {
		switch word = strings.ToLower(strings.TrimSpace(word)); word {
		case "":
		case "all":
			found = append(found, Kinds()...)
		case "rabbitmq":
			found = append(found, KindRabbit)
		case string(KindRedis), string(KindRabbit), string(KindKafka):
			found = append(found, Kind(word))
		default:
			return nil, fmt.Errorf("brokers: read list: unknown broker %q (known: redis, rabbit, kafka)", word)
		}
	}

	var ordered []Kind
	for _, kind := range Kinds() {
		if slices.Contains(found, kind) {
			ordered = append(ordered, kind)
		}
	}

	return ordered, nil
}
