package danaconnect

// CSV is what a contact load makes of rows.
func CSV(rows [][]string) []byte { return Load{Rows: rows}.csv() }

// Table is the rules of the OTP API in use.
func Table() *[]Rule { return &rules }

// AnswerTable is the rules of API 2.0 and of contact loads in use.
func AnswerTable() *[]AnswerRule { return &answerRules }
