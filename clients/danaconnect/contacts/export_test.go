package contacts

// CSV returns the file of a load of rows.
func CSV(rows [][]string) []byte { return Load{Rows: rows}.csv() }
