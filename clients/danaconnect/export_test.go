package danaconnect

// AnswerTable returns the table in use.
func AnswerTable() *[]AnswerRule { return &answerRules }
