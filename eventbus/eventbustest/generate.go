package eventbustest

import (
	"encoding/json"
	"math"
	"math/rand/v2"
	"reflect"
	"strings"
	"time"

	"github.com/leat-go/leat/eventbus"
)

// generator makes up values. The seed is that of the run, so that a failure
// can be repeated.
type generator struct{ *rand.Rand }

func (s *session) generator() generator {
	salt := uint64(14695981039346656037)
	for _, c := range s.c.Name {
		salt = (salt ^ uint64(c)) * 1099511628211
	}
	return generator{rand.New(rand.NewPCG(s.h.Seed, salt))}
}

func (g generator) chance(n int) bool { return g.IntN(n) == 0 }

var alphabet = []rune("abcXYZ019 \t\n\r\"\\'/<>&,;%\x00\x1f\x7f\u00e4\u00df\u0416\u4e2d\u6587\u05d0\u0627\u2028\u2029\ufeff\u200d\U0001f469\U0001f600\U0001d11e\U0010ffff")

func (g generator) text(most int) string {
	var out strings.Builder
	for range g.IntN(most + 1) {
		out.WriteRune(alphabet[g.IntN(len(alphabet))])
	}
	return out.String()
}

// id makes ids of what ids may consist of: printable text.
func (g generator) id() string {
	const printable = "abcXYZ019-_.: /\u00e4\u4e2d\U0001f600"
	runes := []rune(printable)
	out := "k"
	for range g.IntN(20) {
		out += string(runes[g.IntN(len(runes))])
	}
	return out
}

// value makes up what JSON can hold, as it is after a decoding.
func (g generator) value(depth int) any {
	kinds := 7
	if depth == 0 {
		kinds = 5
	}
	switch g.IntN(kinds) {
	case 0:
		return nil
	case 1:
		return g.chance(2)
	case 2:
		return json.Number([]string{"0", "-1", "9007199254740993", "123456789012345678901234567890", "-0.5", "1e400"}[g.IntN(6)])
	case 3:
		return ""
	case 4:
		return g.text(20)
	case 5:
		items := make([]any, g.IntN(4))
		for i := range items {
			items[i] = g.value(depth - 1)
		}
		return items
	default:
		return g.object(depth - 1)
	}
}

func (g generator) object(depth int) map[string]any {
	object := map[string]any{}
	for range g.IntN(4) {
		object[g.text(8)] = g.value(depth)
	}
	return object
}

func (g generator) placed() *placed {
	e := &placed{
		Base: eventbus.NewBase(g.id()), N: g.Int(), Text: g.text(40), Big: g.Int64() - math.MaxInt64/2, Huge: g.Uint64(),
		Ratio: g.NormFloat64() * math.Pow(10, float64(g.IntN(300)-150)), Flag: g.chance(2),
		When: time.Unix(g.Int64N(1<<32), g.Int64N(1e9)).UTC(),
	}
	if g.chance(2) {
		e.Maybe = new(g.text(10))
	}
	if g.chance(2) {
		e.Bytes = []byte(g.text(30))
	}
	if g.chance(2) {
		e.List = make([]string, g.IntN(3))
		for i := range e.List {
			e.List[i] = g.text(5)
		}
	}
	if g.chance(2) {
		e.Map = map[string]string{}
		for range g.IntN(3) {
			e.Map[g.text(5)] = g.text(5)
		}
	}
	if g.chance(2) {
		e.Nested = nested{A: g.text(5), B: []nested{{A: g.text(5)}}}
	}
	g.base(&e.Base)
	return e
}

func (g generator) base(b *eventbus.Base) {
	b.OccurredAt = time.Unix(g.Int64N(1<<33), g.Int64N(1e9)).In(time.FixedZone("somewhere", g.IntN(40000)-20000))
	b.AggregateVersion = 1 + g.Int64N(math.MaxInt64-1)
	if g.chance(2) {
		b.TenantID, b.ActorID = g.id(), g.id()
	}
	switch g.IntN(3) {
	case 0:
		b.CorrelationID, b.CausationID = g.id(), g.id()
	case 1:
		b.CorrelationID = ""
	}
	if g.chance(2) {
		b.EventVersion = 1 + g.IntN(1000)
	}
	if g.chance(2) {
		b.AggregateType = "Basket.v2"
	}
	switch g.IntN(4) {
	case 0:
		b.Metadata = g.object(3)
	case 1:
		b.Metadata = map[string]any{}
	case 2:
		b.Metadata = map[string]any{"large": strings.Repeat(g.text(16)+".", 1+g.IntN(4000))}
	}
}

// asReceived is what a handler must be given for a published event.
func asReceived(sent *placed) *placed {
	e := *sent
	e.EventType = placedName
	if e.EventVersion == 0 {
		e.EventVersion = 1
	}
	if e.AggregateType == "" {
		e.AggregateType = "Order"
	}
	e.OccurredAt = e.OccurredAt.UTC().Truncate(time.Microsecond)
	return &e
}

// differences names the fields in which two events differ.
func differences(got, want *placed) []string {
	g, w := *got, *want
	for _, e := range []*placed{&g, &w} {
		if len(e.Metadata) == 0 {
			e.Metadata = nil // absent and empty are one thing on the wire
		}
	}
	var fields []string
	compare := func(a, b reflect.Value) {
		for i := range a.NumField() {
			f := a.Type().Field(i)
			if f.Type == reflect.TypeFor[eventbus.Base]() {
				continue
			}
			if x, ok := a.Field(i).Interface().(time.Time); ok {
				if y, ok := b.Field(i).Interface().(time.Time); ok && x.Equal(y) {
					continue
				}
			}
			if !reflect.DeepEqual(a.Field(i).Interface(), b.Field(i).Interface()) {
				fields = append(fields, f.Name)
			}
		}
	}
	compare(reflect.ValueOf(g.Base), reflect.ValueOf(w.Base))
	compare(reflect.ValueOf(g), reflect.ValueOf(w))
	return fields
}
