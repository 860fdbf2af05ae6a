package clients

// StatusTable is the rules in use.
func StatusTable() *[]StatusRule { return &statusRules }
