package eventbustest

func isolationCases() []Case { return nil }
func retryCases() []Case     { return nil }
func orderCases() []Case     { return nil }
func publishCases() []Case   { return nil }
func inputCases() []Case     { return nil }
func wireCases() []Case      { return nil }
func shutdownCases() []Case  { return nil }
func loadCases() []Case      { return nil }
func statsCases() []Case     { return nil }
func traceCases() []Case     { return nil }
func groupCases() []Case     { return nil }
func letterCases() []Case    { return nil }
func replayCases() []Case    { return nil }
func memoryCases() []Case    { return nil }
func secretCases() []Case    { return nil }
