// Package taskstest is for the unit tests of code that enqueues tasks. Its Client is in
// memory: it needs neither Redis nor a worker, and a test ends with nothing left behind.
//
// Code under test takes a [tasks.Enqueuer]. The application gives it the client of
// [tasks.Open], the test that of [New]:
//
//	client := taskstest.New()
//	login := shop.NewLogin(client)
//	err := login.SendCode(ctx, "ana@example.com")
//	sends := taskstest.Payloads[danaconnect.OTPSend](client)
//
// The Client keeps the promises of the true one: it validates payloads, refuses what is
// too large, gives the ticket of the first task for a key, and refuses the key with
// another payload. A task does not run before it is due, and ends Expired if nobody ends
// it in time. A test that runs in a bubble of testing/synctest decides about that time.
//
// No task ends by itself before. A test ends it with any outcome ([Client.End]), or
// has it attempted by the vendor's own code against the vendor's sandbox
// ([Client.Connect], [Client.Run]). [Client.OnEnqueue] does either as soon as a task is
// stored, for code that waits for the outcome.
package taskstest
