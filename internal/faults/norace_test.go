//go:build !race

package faults

// slowdown is 1 without the race detector: promised times hold as they are.
const slowdown = 1
