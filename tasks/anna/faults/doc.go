// Package faults shows that AnnA's tasks keep their promises while workers die and
// Redis fails: inactivations are confirmed and recorded in the audit trail, forced
// hashes and inactivations of one user keep their order, and the fleet shares one
// token. It uses package fleet, as internal/faults does for the promises that hold
// for tasks of every vendor.
//
// The package has tests only.
package faults
