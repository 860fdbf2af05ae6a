// Package bench measures what a task costs, as ratios against plain asynq in the
// same run. Plain asynq keeps neither results nor ended tasks (no Retention, no
// ResultWriter) and acknowledges without a guarantee, so its figures are a ceiling.
//
// The figures of one run are medians of rounds in which the two take turns: the
// machine's noise meets both. ITERATIONS is how many rounds there are.
package bench
