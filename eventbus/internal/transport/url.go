package transport

import (
	"net"
	"net/url"
	"slices"
	"strings"
)

// ParseURL parses a broker's URL. It reports false instead of an error: those of
// net/url quote the text, password and all. It does so, too, when what the text
// means is a guess: user:password@host, with no scheme before it, is a URL to
// net/url, and its password is anywhere but in User. Paths are the schemes whose
// URLs name a path and no host; an @ in it is nothing special there.
func ParseURL(raw string, paths ...string) (u *url.URL, ok bool) {
	u, err := url.Parse(raw)
	if err != nil || u.Scheme == "" || u.Opaque != "" {
		return nil, false
	}
	if u.Host == "" && !slices.Contains(paths, u.Scheme) && strings.Contains(u.Path, "@") {
		return nil, false
	}
	return u, true
}

// RedactedURL returns a URL without user, password and query, to be shown. Of
// what [ParseURL] does not take, nothing is shown.
func RedactedURL(raw string, paths ...string) string {
	u, ok := ParseURL(raw, paths...)
	if !ok {
		return "(not a URL)"
	}
	if u.User != nil {
		u.User = url.User("...")
	}
	u.RawQuery, u.Fragment = "", ""
	return u.String()
}

// Loopback reports whether what is sent to a host stays on this machine, as far
// as its name tells: no name but localhost is looked up.
func Loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}
