package codec

// Codec turns an event into bytes and back. Implementations are safe for use
// from many goroutines at once and keep neither the event nor the bytes.
type Codec interface {
	// ContentType is the media type of what Encode writes, such as
	// "application/json". It never changes.
	ContentType() string

	// Encode returns the document of event, which is a pointer to a struct
	// whose first field embeds the header. The header's fields are written as h
	// has them, which may differ from the event's own copy; the event is not
	// changed. A nil h means the event's own header. The caller owns the
	// returned bytes.
	//
	// Every failure is an [*EncodeError].
	Encode(h *Header, event any) ([]byte, error)

	// Decode fills event, a pointer to a zero struct of the kind that Encode
	// takes, its embedded header included. It does not keep data.
	//
	// Every failure is a [*DecodeError]; what event holds then is undefined.
	Decode(data []byte, event any) error
}

// VersionPeeker is implemented by codecs that can tell the schema version of an
// event without decoding the whole of it. An upcaster is chosen by it when the
// message's metadata does not carry the version.
type VersionPeeker interface {
	// Version returns the document's event_version, 0 when it has none. A
	// failure is a [*DecodeError].
	Version(data []byte) (int, error)
}
