// Package codec turns domain events into bytes and back.
//
// An event is a struct whose first field embeds its header: the twelve fields
// that every event has ([Header]; eventbus.Base has the same layout). A [Codec]
// writes header and own fields as one document and reads them back. [JSON] is
// the default and the format that stock Watermill consumers and the Python
// library eventsource-py read and write.
//
// # The smallest program
//
//	type OrderCreated struct {
//		eventbus.Base
//		CustomerID string `json:"customer_id"`
//	}
//
//	data, err := codec.JSON{}.Encode(nil, &created)
//	err = codec.JSON{}.Decode(data, &again)
//
// # What can go wrong
//
// Call [Check] once a type, when it is registered: it names everything about
// the type that would lose data silently later on. A failed Encode is an
// [*EncodeError], a failed Decode a [*DecodeError]; both wrap their cause, so
// [ErrTooLarge] and [ErrTooDeep] are found with errors.Is.
//
// # The document is a promise
//
// Events outlive releases. The golden files in testdata hold every corner of
// the format; a change of one byte there is a breaking change and needs a line
// in CHANGELOG.md.
//
// The package is a leaf: it imports the standard library only, keeps no state
// but pools and the cached layouts of types, and starts no goroutine.
package codec
