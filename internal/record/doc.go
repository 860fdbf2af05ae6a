// Package record has the record of each task in Redis: how far it is, its
// attempts, the claim of the worker that runs it, and its outcome. What is true
// about a task is in its record; asynq only carries the task from the queue to a
// worker.
//
// This package reads the records, and what belongs to them: dead letters, the
// outbox and the audit log. The steps of a task change its record together with
// asynq's queue, in one script each; they are in internal/broker.
//
// # Layout
//
// The braces are the hash tag of Redis Cluster. asynq's keys of the queue have the
// same one, so one script can change both.
//
//	errand:{queue}:task:<id>      the record (a hash)
//	errand:{queue}:log:<id>       its further attempts (a list)
//	errand:{queue}:data:<id>      its result, sealed by the worker
//	errand:{queue}:key:<digest>   whose the producer's key is, the digest of the payload ('-':
//	                              not known) and the outcome, as words; outlives the record
//	errand:{queue}:alone:<digest> the active task of a subject (UniqueWhileActive)
//	errand:{queue}:intent:<digest> who runs and who has closed for a subject
//	errand:{queue}:parked:<name>  the tasks that wait for a blocker
//	errand:{queue}:blockers       the names for which there were such tasks of late
//	errand:{queue}:dead           dead letters
//	errand:{queue}:outbox         ends of tasks to publish
//	errand:{queue}:audit          the audit log
//	errand:{queue}:audit:open     the tasks in it that are unconfirmed
//	errand:{queue}:audit:of:<digest> those of one subject
//	errand:{queue}:audit:announced at which age each of these was announced last
//	errand:{queue}:index:<until>:<xx> tasks by the digests of their subjects and vendor IDs (a list)
//	errand:{queue}:taken:<owner>  what a worker took last, should the reply be lost
//	errand:{queue}:pause          who has paused the queue, and why
//	errand:{queue}:seq            numbers tasks that have an intent
//	errand:{queue}:sealed         is there while workers demand encryption
//	errand:{queue}:salt           salts the digests of the queue
//	errand:alive:<owner>          a worker's heartbeat
//	errand:clocks                 by how much the clocks of workers are wrong (a hash)
//	errand:accounts               the accounts that workers have, or had (a set)
//	errand:account:{name}:pause   who has paused an account, and why; it stops the account's calls
//	errand:actions                what operators have done (a stream)
//	{errand:actions}:seen         what is in it once a day
//	errand:format                 the version of this layout
//	errand:promotion              when a process first met the latest promotion (internal/redisconn)
//
// A record is a small hash with short values, which Redis keeps as a listpack: a
// value of more than 64 bytes would turn it into a table of twice the size. Hence
// log and data have keys of their own, and what is written once is two fields:
//
//	asked, once                           written when the task is stored
//	seq                                   with an intent
//	by                                    the API key, or the schedule, that asked, if one did
//	of                                    digests of its subjects
//	owner, fence, verdict, started        the claim
//	abandoned, crashes, reconfirm         what earlier claims left behind
//	doubt, place                          how far the reconciliation is
//	first                                 the first attempt, if it is short
//	attempts, next, parked, change        between attempts
//	waited                                since when and how often it was parked, and for what
//	outcome, ended, code, message         the end
//	ids                                   digests of the vendor's IDs in the result
//	trace                                 of the last attempt of a dead letter
//	replay, replay_of                     the task that replays it, the one that it replays
//	finished                              the fence of the latest written result, in
//	                                      place of fence
//	waiting                               somebody waits for the end
//
// Fields that a later release adds are further fields of the hash; readers ignore what
// they do not know. A change that an older release would misread raises Format.
//
// A record has no expiry before the task has ended, and outlives asynq's copy of
// the task, so that no copy is ever run without its record.
//
// # Time
//
// Every time in a record is Redis' time in milliseconds. The clocks of two
// machines are never compared.
package record
