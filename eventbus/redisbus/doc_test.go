package redisbus_test

import (
	"fmt"
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/leat-go/leat/dlq"
	"github.com/leat-go/leat/eventbus"
	"github.com/leat-go/leat/eventbus/redisbus"
	"github.com/leat-go/leat/middleware"
)

// The table of the package's documentation has every setting, and the defaults
// are those of the code.
func TestDoc_SettingsAreTrue(t *testing.T) {
	text, err := os.ReadFile("doc.go")
	if err != nil {
		t.Fatal(err)
	}
	_, table, ok := strings.Cut(string(text), "// # Settings")
	if !ok {
		t.Fatal("no table")
	}
	for name, value := range map[string]any{
		"URL": redisbus.DefaultURL, "ConnectTimeout": redisbus.DefaultConnectTimeout, "SocketTimeout": redisbus.DefaultSocketTimeout,
		"StreamPrefix": redisbus.DefaultStreamPrefix, "DLQStreamSuffix": redisbus.DefaultDLQStreamSuffix, "Form": "FormWatermill",
		"ConsumerGroup": eventbus.DefaultGroup, "BatchSize": redisbus.DefaultBatchSize, "BlockTime": redisbus.DefaultBlockTime,
		"PendingIdleTime": redisbus.DefaultPendingIdleTime, "MaxDeliveries": redisbus.DefaultMaxDeliveries, "AckDelay": redisbus.DefaultAckDelay,
		"Retry": fmt.Sprintf("%d, %v, %v, %v, %v", middleware.DefaultMaxRetries, middleware.DefaultBaseDelay, middleware.DefaultMaxDelay,
			middleware.DefaultMultiplier, middleware.DefaultJitter),
		"MaxReplays": dlq.DefaultMaxReplays, "MaxBackground": eventbus.DefaultMaxBackground, "MaxPayloadBytes": eventbus.DefaultMaxPayloadBytes,
		"DrainTimeout": eventbus.DefaultDrainTimeout,
	} {
		row := regexp.MustCompile(`(?m)^//\t` + name + ` +` + regexp.QuoteMeta(fmt.Sprint(value)) + `  `)
		if !row.MatchString(table) {
			t.Errorf("no row says that the default of %s is %v", name, value)
		}
	}
	// What is not in the table says enough by its name or is no knob.
	for _, name := range []string{
		"TLS", "Credentials", "AllowPlaintextPassword", "Client", "Registry", "Codec", "Key", "Middleware", "HandlerMiddleware", "DisableDLQ",
		"OnBuried", "DisableTracing", "TracerProvider", "MeterProvider", "Propagator", "Logger", "MaxAge",
	} {
		table += "\n//\t" + name + " "
	}
	for i := range reflect.TypeFor[redisbus.Config]().NumField() {
		name := reflect.TypeFor[redisbus.Config]().Field(i).Name
		if !regexp.MustCompile(`(?m)^//\t` + name + `[ ,]`).MatchString(table) {
			t.Errorf("%s is not in the table", name)
		}
	}
}
