package rabbitbus

import (
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"time"
	"unicode/utf8"

	amqp "github.com/rabbitmq/amqp091-go"
)

// text renders a header of any AMQP type as metadata, which is text only.
func text(v any) string {
	switch v := v.(type) {
	case nil:
		return ""
	case string:
		return v
	case []byte:
		if utf8.Valid(v) {
			return string(v)
		}
		return fmt.Sprintf("%x", v)
	case bool:
		return strconv.FormatBool(v)
	case float32:
		return strconv.FormatFloat(float64(v), 'g', -1, 32)
	case float64:
		return strconv.FormatFloat(v, 'g', -1, 64)
	case time.Time:
		return v.UTC().Format(time.RFC3339)
	case amqp.Decimal:
		return decimal(v)
	case amqp.Table, []any:
		packed, err := json.Marshal(plain(v))
		if err != nil {
			return fmt.Sprint(v) // plain leaves nothing that JSON refuses
		}
		return string(packed)
	}
	return fmt.Sprint(v) // integers
}

// decimal writes a number with a scale: 314, 2 is 3.14.
func decimal(d amqp.Decimal) string {
	digits := strconv.FormatInt(int64(d.Value), 10)
	sign := ""
	if digits[0] == '-' {
		sign, digits = "-", digits[1:]
	}
	for len(digits) <= int(d.Scale) {
		digits = "0" + digits
	}
	if d.Scale == 0 {
		return sign + digits
	}
	point := len(digits) - int(d.Scale)
	return sign + digits[:point] + "." + digits[point:]
}

// plain makes of tables and arrays what encoding/json writes well.
func plain(v any) any {
	switch v := v.(type) {
	case amqp.Table:
		out := make(map[string]any, len(v))
		for k, item := range v {
			out[k] = plain(item)
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i, item := range v {
			out[i] = plain(item)
		}
		return out
	case nil, bool, int8, uint8, int16, uint16, int32, uint32, int64, int, string:
		return v
	}
	return text(v)
}

// typed keeps a header with its AMQP type, as JSON: the letter that AMQP gives
// the type, and the value.
type typed struct {
	v any
}

// MarshalJSON writes ["I",3].
func (t typed) MarshalJSON() ([]byte, error) {
	pair := func(letter string, v any) ([]byte, error) { return json.Marshal([]any{letter, v}) }
	switch v := t.v.(type) {
	case nil:
		return pair("V", nil)
	case bool:
		return pair("t", v)
	case int8:
		return pair("b", v)
	case uint8:
		return pair("B", v)
	case int16:
		return pair("s", v)
	case uint16:
		return pair("u", v)
	case int32:
		return pair("I", v)
	case uint32:
		return pair("i", v)
	case int:
		return pair("l", strconv.Itoa(v))
	case int64:
		return pair("l", strconv.FormatInt(v, 10))
	case float32:
		return pair("f", math.Float32bits(v))
	case float64:
		return pair("d", strconv.FormatUint(math.Float64bits(v), 10))
	case amqp.Decimal:
		return pair("D", []any{v.Scale, v.Value})
	case string:
		return pair("S", []byte(v)) // base64: it need not be UTF-8
	case []byte:
		return pair("x", v)
	case time.Time:
		return pair("T", v.Unix())
	case []any:
		items := make([]typed, len(v))
		for i, item := range v {
			items[i].v = item
		}
		return pair("A", items)
	case amqp.Table:
		fields := make(map[string]typed, len(v))
		for k, item := range v {
			fields[k] = typed{item}
		}
		return pair("F", fields)
	}
	return nil, fmt.Errorf("rabbitbus: keep header: type %T is not one of AMQP's", t.v)
}

// UnmarshalJSON reads what MarshalJSON wrote.
func (t *typed) UnmarshalJSON(data []byte) error {
	var pair [2]json.RawMessage
	if err := json.Unmarshal(data, &pair); err != nil {
		return err
	}
	var letter string
	if err := json.Unmarshal(pair[0], &letter); err != nil {
		return err
	}
	var err error
	switch letter {
	case "V":
		t.v = nil
	case "t":
		t.v, err = into[bool](pair[1])
	case "b":
		t.v, err = into[int8](pair[1])
	case "B":
		t.v, err = into[uint8](pair[1])
	case "s":
		t.v, err = into[int16](pair[1])
	case "u":
		t.v, err = into[uint16](pair[1])
	case "I":
		t.v, err = into[int32](pair[1])
	case "i":
		t.v, err = into[uint32](pair[1])
	case "l":
		var s string
		if s, err = into[string](pair[1]); err == nil {
			t.v, err = strconv.ParseInt(s, 10, 64)
		}
	case "f":
		var bits uint32
		bits, err = into[uint32](pair[1])
		t.v = math.Float32frombits(bits)
	case "d":
		var s string
		var bits uint64
		if s, err = into[string](pair[1]); err == nil {
			bits, err = strconv.ParseUint(s, 10, 64)
		}
		t.v = math.Float64frombits(bits)
	case "D":
		var d [2]int32
		d, err = into[[2]int32](pair[1])
		t.v = amqp.Decimal{Scale: uint8(d[0]), Value: d[1]}
	case "S":
		var b []byte
		b, err = into[[]byte](pair[1])
		t.v = string(b)
	case "x":
		t.v, err = into[[]byte](pair[1])
	case "T":
		var seconds int64
		seconds, err = into[int64](pair[1])
		t.v = time.Unix(seconds, 0)
	case "A":
		var items []typed
		items, err = into[[]typed](pair[1])
		list := make([]any, len(items))
		for i, item := range items {
			list[i] = item.v
		}
		t.v = list
	case "F":
		var fields map[string]typed
		fields, err = into[map[string]typed](pair[1])
		table := make(amqp.Table, len(fields))
		for k, item := range fields {
			table[k] = item.v
		}
		t.v = table
	default:
		err = fmt.Errorf("rabbitbus: read kept header: type %q is unknown", letter)
	}
	return err
}

func into[T any](data []byte) (v T, err error) {
	err = json.Unmarshal(data, &v)
	return v, err
}
