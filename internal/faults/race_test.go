//go:build race

package faults

// slowdown is by how much workers with the race detector may exceed a promised time.
// They need several times the CPU of the workers that the promise is about, so on a
// machine that also runs other tests their heartbeats and sweeps are late.
const slowdown = 6
