package otp

// Table returns the table in use.
func Table() *[]Rule { return &rules }
