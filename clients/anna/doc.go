// Package anna calls AnnA's Corporate User API, version 3.
//
// The vendor's page: https://docs.anna.center/anna-services/corporate-user/generate-hash
//
// A Login gets tokens; a tokens.Source shares them in the fleet; a Client calls
// with them. The page says little of what may go wrong, so this package is
// careful where it is silent: an answer counts only if its success is a JSON
// boolean and its promised field is there (rules.go), a success:false may hide
// an expired token (call.go), times are read in every way that makes sense and
// the earliest end counts (life.go), and the vendor's message is neither
// branched on nor repeated, because it is translated prose that names the
// company hash and the user.
package anna
