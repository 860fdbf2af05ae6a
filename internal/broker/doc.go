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
// writes it. asynq decides nothing. Its client has no part: the message is encoded as it
// would, and stored with the record; its server asks for work and serverHook answers; its acknowledgements,
// retries and recovery are answered without asking Redis. Who has died is decided by
// heart, what becomes of a dead worker's task by requeue.lua, by whether its call may
// have left.
//
// # Slots
//
// Each queue has a server of asynq's own, and as many slots as its concurrency. A slot
// is taken from the moment a task is handed out until its handler has returned; a claim
// that is not handed out yet has a free slot to wait for. A handler that does not
// return keeps its slot here, though asynq has given it up.
//
// # What is taken for granted about asynq v0.26.0
//
// Each line with the test that fails when it is no longer so. Whoever sets asynqVersion
// to another release works through this list, and through the changes between the two.
//
//  1. The build has that release: TestTheKnownReleaseOfAsynqIsRequired,
//     TestAnotherReleaseOfAsynqIsRefused.
//  2. The keys of a queue begin with asynq:{queue}: and are pending and active (lists),
//     scheduled, retry, archived, completed and lease (sorted sets by Unix seconds),
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
//  10. The server asks for a task from one goroutine, and only with a free slot:
//     TestNoMoreTasksAreTakenThanRun.
//  11. It sleeps for about TaskCheckInterval after "empty" and asks again; the wait is
//     the dispatch's: TestATaskStartsWhenItArrives.
//  12. It takes of the answer the message only, and its options from there, so that
//     a plain client's task is handed out with options of ours:
//     TestAdopt, and TestAPlainAsynqClientsTaskIsAdopted in internal/worker.
//  13. It acknowledges with scripts whose answer OK it believes; with a handler that
//     always succeeds there is no other end, and RetryDelayFunc, IsFailure and
//     ErrorHandler are never asked: TestAsynqsAcknowledgementsDoNotReachRedis.
//  14. It gives a handler up when the task is cancelled, its lease is lost or its Timeout
//     is over, and leaves its goroutine running, with a context that ends:
//     TestAHandlerOutlivesWhatAsynqThinksOfIt.
//  15. A message without Timeout has 30 minutes; ours say an hour, longer than any
//     attempt: TestTheFieldsOfAsynqsMessage.
//  16. A lease lasts 30 s from the question, and its heartbeats extend it:
//     TestALeaseIsExtended, TestStepsLeaveWhatAsynqsLeave.
//  17. The recoverer asks for leases that have ended, and does nothing more when there
//     are none: TestAsynqRecoversNothing.
//  18. The forwarder asks for scheduled until the answer is 0, and then for retry, which
//     went along: TestAsynqForwardsByOurScript.
//  19. The janitor deletes completed tasks by their scores, some seconds late; a record
//     outlives that: TestARecordOutlivesAsynqsCopy.
//  20. Archived tasks are kept for 90 days at the most, and 10,000 of them; ours are
//     trimmed earlier: TestTheArchiveIsTrimmedInSmallSteps.
//  21. A stop waits ShutdownTimeout for the handlers and then puts their tasks back with
//     a script, which is answered; the claims are put back by Shutdown:
//     TestAStopPutsBackWhatHasNotStarted.
//  22. Run, Delete and Pause of the inspector, and so of asynqmon, change the keys of 2
//     only: TestEarlyTasksGoBack, TestADeletedTaskKeepsNobodyAway,
//     TestAPausedQueueGivesNothing.
//  23. Deleting a task frees its unique lock: TestCancelFreesAsynqsUniqueLock.
package broker
