package eventbustest

func wireCases() []Case   { return nil }
func loadCases() []Case   { return nil }
func statsCases() []Case  { return nil }
func traceCases() []Case  { return nil }
func groupCases() []Case  { return nil }
func letterCases() []Case { return nil }
func replayCases() []Case { return nil }
func memoryCases() []Case { return nil }
func secretCases() []Case { return nil }
