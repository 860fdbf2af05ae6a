// Package broker moves tasks: from a producer into Redis, from there to a worker, and
// from each attempt to the next or to the end. asynq carries the tasks; what is true
// about one is in its record (internal/record).
//
// # The way of a task
//
//	Producer.Enqueue   the key, the record, the audit log and asynq's task, in one script
//	Redis              asynq's lists of the queue, and the records, side by side
//	dispatch           claims as many tasks as there are free slots, and waits for more
//	Claim              one task, one worker: Start before the call, then End, Adopt or Drop
//	Claim.End          what became of it: again later, parked for a blocker, or an outcome
//
// Every step is one Lua script (lua/*.lua), which changes the record and asynq's lists
// together, so that the two never disagree (Check). A script may run twice, because
// go-redis repeats one whose reply was lost. The batcher joins calls of the same step in
// the same queue that come at once; each task has its own answer and error (each.lua).
//
// # Who decides
//
// internal/worker decides what an attempt means: Result says it, and this package
// writes it. asynq decides nothing, and runs nothing. Its client has no part: the message
// is encoded as it would, and stored with the record. Its server forwards delayed tasks,
// deletes old ones, and tells asynq's tools what runs; serverHook answers its questions.
// Who has died is decided by heart, what becomes of a dead worker's task by requeue.lua,
// by whether its call may have left.
//
// # Slots
//
// Each queue has as many slots as its concurrency; a slot is a goroutine that runs one
// task after the other. One of the free slots asks Redis, and those that are free beside
// it wait for that one. A claim that no slot runs yet has a free slot to wait for.
//
// # What is taken for granted about asynq v0.26.0
//
// Each line with the test that fails when it is no longer so. Whoever sets asynqVersion
// to another release works through this list, and through the changes between the two.
//
//  1. The build has that release: TestTheKnownReleaseOfAsynqIsRequired,
//     TestAnotherReleaseOfAsynqIsRefused.
//  2. The keys of a queue begin with asynq:{queue}: and are pending and active (lists),
//     scheduled, retry, archived and completed (sorted sets by Unix seconds),
//     paused, processed, failed and both of each day (texts), t:<id> (a hash):
//     TestStepsLeaveWhatAsynqsLeave.
//  3. The hash of a task has msg, state, pending_since (ns) and, for a plain client's,
//     unique_key and group: TestStepsLeaveWhatAsynqsLeave, TestAnAdoptedTaskEndsAsAsynqs.
//  4. New tasks enter pending on the left and leave on the right; a task that is put
//     back enters on the right: TestTakeKeepsTheOrder, TestStepsLeaveWhatAsynqsLeave.
//  5. The message is a protobuf with the field numbers of message.go, in their order:
//     TestTheFieldsOfAsynqsMessage, FuzzMessage.
//  6. The scripts that meet a queue, by their texts: TestAsynqsScripts.
//  7. The kinds of their keys tell serverHook what a script is for; no script of the
//     inspector looks like one of the server's: TestAsynqsScripts.
//  8. The client registers a queue with SADD asynq:queues before its first task, and the
//     producer does so in its stead: TestTheMessageIsAsAsynqsClientEncodesIt,
//     TestLifeOfATask.
//  9. Nobody registers a queue again but the reconciler: TestAQueueIsRegisteredAgain.
//  10. The server runs what the answer to its question for a task has, and nothing else;
//     with no answer it waits, and stops when the answer is "empty": TestAsynqRunsNothing,
//     TestAStopPutsBackWhatHasNotStarted.
//  11. Cancelling a task ends the context of what a server runs, and changes nothing in
//     Redis: TestAsynqCancelsNothing.
//  12. Every five seconds a server tells what it is and what it runs, with a script of two
//     keys, a ServerInfo and WorkerInfos with the field numbers of serverstate.go:
//     TestAsynqsScripts, TestAsynqsToolsSeeWhatRuns.
//  13. The leases of asynq (a sorted set) are for its recoverer alone, and none are
//     written: TestAsynqRecoversNothing, TestStepsLeaveWhatAsynqsLeave.
//  14. The recoverer asks for leases that have ended, and does nothing more when there
//     are none: TestAsynqRecoversNothing.
//  15. The forwarder asks for scheduled until the answer is 0, and then for retry, which
//     went along: TestAsynqForwardsByOurScript.
//  16. The janitor deletes completed tasks by their scores, some seconds late; a record
//     outlives that: TestARecordOutlivesAsynqsCopy.
//  17. Archived tasks are kept for 90 days at the most, and 10,000 of them; ours are
//     trimmed earlier: TestTheArchiveIsTrimmedInSmallSteps.
//  18. Run, Delete and Pause of the inspector, and so of asynqmon, change the keys of 2
//     only: TestEarlyTasksGoBack, TestADeletedTaskKeepsNobodyAway,
//     TestAPausedQueueGivesNothing.
//  19. Deleting a task frees its unique lock: TestCancelFreesAsynqsUniqueLock.
package broker
