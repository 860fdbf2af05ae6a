//go:build race

package faults

// slowdown is by how much workers with the race detector may exceed a promised time:
// they are several times slower than the workers that the promise is about.
const slowdown = 2
