// Package bench measures what a task costs, where there is one as a ratio against plain
// asynq in the same run. Plain asynq keeps neither results nor ended tasks (no Retention,
// no ResultWriter) and acknowledges without a guarantee, so its figures are a ceiling.
//
// The rows that both systems have are in contests (rows_test.go); the other benchmarks are
// what only one can have. The figures of one run are medians of rounds in which the two
// take turns: the machine's noise meets both.
//
// ITERATIONS is how many rounds there are, QUEUED how many tasks wait in Redis while the
// worker at rest is measured (a million takes a minute and a gigabyte).
package bench
