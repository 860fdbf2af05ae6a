package danaconnect

// CSV is what a contact load makes of rows.
func CSV(rows [][]string) []byte { return Load{Rows: rows}.csv() }
