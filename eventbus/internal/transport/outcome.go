package transport

// All returns the outcome of n messages that failed for one reason.
func All(n int, err error) []error {
	errs := make([]error, n)
	for i := range errs {
		errs[i] = err
	}
	return errs
}

// Merge puts the outcomes of the messages that were sent into the gaps between
// those that were not: invalid has an entry for each message, nil for those that
// were sent; sent has one for each of these, or none when all are confirmed. It
// returns invalid, which it changes, or sent if invalid is nil.
func Merge(invalid, sent []error) []error {
	if invalid == nil {
		return sent
	}
	for i := range invalid {
		if invalid[i] == nil && len(sent) > 0 {
			invalid[i], sent = sent[0], sent[1:]
		}
	}
	return invalid
}

// Failed returns the outcomes of the messages that are not confirmed.
func Failed(outcomes []error) []error {
	var failed []error
	for _, err := range outcomes {
		if err != nil {
			failed = append(failed, err)
		}
	}
	return failed
}
