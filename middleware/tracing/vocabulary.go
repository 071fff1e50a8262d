package tracing

import (
	"strings"
	"sync"
	"unicode/utf8"
)

// maxWords bounds the different values of one metric attribute that somebody
// else's code chooses: error types, handler names, reasons of letters.
const maxWords = 200

// vocabulary lets the first maxWords different words through and turns the
// later ones into "_OTHER", so that no attribute of a metric grows without end.
type vocabulary struct {
	mu    sync.RWMutex
	words map[string]string // as given -> as told
}

func (v *vocabulary) word(s string) string {
	v.mu.RLock()
	w, ok := v.words[s]
	v.mu.RUnlock()
	if ok {
		return w
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if w, ok := v.words[s]; ok {
		return w
	}
	if len(v.words) >= maxWords || len(s) > maxValue {
		return errorOther
	}
	if v.words == nil {
		v.words = map[string]string{}
	}
	w = clean(s, maxValue)
	v.words[s] = w
	return w
}

// clean makes s fit to be told: valid UTF-8, because one bad byte makes an
// exporter drop its whole batch, and at most limit bytes.
func clean(s string, limit int) string {
	if len(s) > limit {
		s = s[:limit]
		// A character cut in two is left out, not replaced.
		for i := 1; i < utf8.UTFMax && i <= len(s); i++ {
			if c := s[len(s)-i]; utf8.RuneStart(c) {
				if !utf8.FullRuneInString(s[len(s)-i:]) {
					s = s[:len(s)-i]
				}
				break
			}
		}
	}
	if utf8.ValidString(s) {
		return s
	}
	return strings.ToValidUTF8(s, "\uFFFD")
}
