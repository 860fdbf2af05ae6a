package main

import (
	"fmt"

	"github.com/alecthomas/kong"
)

const (
	commandName = "enqueue"
	description = "Enqueues background tasks and reports what became of them."
)

// printHelp prints mainHelp for the command itself, and kong's page for a
// subcommand. The default command is what most users need, and kong would show
// its flags only after a second --help.
func printHelp(options kong.HelpOptions, ctx *kong.Context) error {
	if selected := ctx.Selected(); selected != nil && selected.Name != commandName {
		return kong.DefaultHelpPrinter(options, ctx)
	}
	_, err := fmt.Fprint(ctx.Stdout, mainHelp)
	return err
}

const mainHelp = `Usage: enqueue TYPE [flags]              validate and enqueue one task
       enqueue bulk FILE|- [flags]       enqueue one task per row of a JSONL or CSV file
       enqueue types [TYPE] [--json]     list the task types, or show the fields, rules and an
                                         example of one
       enqueue status ID [--watch]       show a task's state, outcome, times and every attempt;
                                         also by --type T --key K, or --receipt FILE of a bulk run
       enqueue cancel ID [--json]        cancel a task that has not been attempted yet
       enqueue completion bash|zsh       print a completion script for a shell
       enqueue --version                 print the version

Flags of enqueue TYPE:
  --payload=JSON|@FILE|-   the payload: JSON, @FILE, or - for stdin (default: {})
  --set=PATH=VALUE         set one field of the payload, such as values.COD1_EMAIL=ana@example.com
                           or body.Lines[0].Text=Consulting; in a free body a value is text unless
                           the path names a type, as in body.Days:number=8 (number, bool, json);
                           overrides --payload; may be repeated, and the last value of a path wins
  --key=KEY                enqueue only once per type and key; a repeated call returns the first
                           task; a create with an ExternalReference has its key already; at
                           most 256 bytes
  --in=10m                 start after this long
  --at=TIME                start at this time (RFC 3339); a time up to a minute ago means now, an
                           earlier one is refused
  --usable-for=90s         end the task as expired if it cannot run within this time after its
                           start time
  --wait=20s               wait up to this long for the outcome, which sets the exit code
  --notify                 send a task.finished event when the task ends
  --dry-run                validate, and print the request that would go to the vendor, with
                           secrets and personal data masked; nothing is sent or stored
  --json                   print one JSON object
  -h, --help               show this page; 'enqueue bulk --help' shows that of bulk, and so on

Examples:
  enqueue types danaconnect:otp:send
  enqueue danaconnect:otp:send --payload @otp.json --key order-4711 --wait 20s
  enqueue dinero:contact:create --payload @contact.json --notify
  enqueue bulk --type dinero:contact:create --receipt receipt.jsonl contacts.csv

Settings come from the environment: REDIS_URL (default redis://127.0.0.1:6379/0) and
ENCRYPTION_KEYS, both the same as the workers'. Each can also be read from the file named by
REDIS_URL_FILE or ENCRYPTION_KEYS_FILE. QUEUE_LIMIT is how many tasks of a queue may wait; while
more do, and while Redis has less than a tenth of its maxmemory left, nothing is stored. No vendor
credentials are needed.

Data goes to stdout, everything else to stderr. Exit codes:
    0 stored; with --wait: done         8 expired: it was never run
    1 unexpected error                  9 bulk finished with refused rows
    2 wrong command line or settings   10 the wait timed out
    3 input refused                    11 failed or invalid
    4 Redis unreachable or full        12 cancelled or superseded
    5 declined by the vendor           13 no such task, or too late to cancel it
    6 parked when the wait ended      130 interrupted
    7 unknown: it may have happened
`
