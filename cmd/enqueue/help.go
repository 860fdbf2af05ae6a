package main

import (
	"fmt"

	"github.com/alecthomas/kong"
)

const (
	name  = "enqueue"
	about = "Puts background jobs into the queue and tells what has become of them."
)

// help prints the page of a subcommand as kong does, and the whole command's by
// hand: what most people want is the default command, which kong would hide
// behind a second --help.
func help(options kong.HelpOptions, ctx *kong.Context) error {
	if selected := ctx.Selected(); selected != nil && selected.Name != name {
		return kong.DefaultHelpPrinter(options, ctx)
	}
	_, err := fmt.Fprint(ctx.Stdout, mainHelp)
	return err
}

const mainHelp = `Usage: enqueue TYPE [flags]              check one task and put it into the queue
       enqueue bulk FILE|- [flags]       one task for each line of a JSONL or CSV file
       enqueue types [TYPE] [--json]     the task types; with TYPE fields, rules and an example
       enqueue status ID [--json]        where a task stands, with every attempt
       enqueue cancel ID [--json]        end a task that was never attempted

Flags of enqueue TYPE:
  --payload=JSON|@FILE|-   the payload: JSON, @FILE, or - for stdin; {} if left out
  --set=PATH=VALUE         set one field, such as values.COD1_EMAIL=ana@example.com; goes on top
                           of --payload, may be repeated, the last one of a path counts
  --key=KEY                enqueue only once per type and key, however often it is asked for
  --in=10m                 start after this long
  --at=TIME                start at this time (RFC 3339); up to a minute ago means now, an
                           earlier time is refused
  --usable-for=90s         end the task as expired if it could not run within this time of its
                           start
  --wait=20s               wait this long for the outcome; it is the exit code
  --notify                 have a task.finished event sent when the task ends
  --dry-run                only check, and show the request that the vendor would get, with
                           secrets and personal data masked; nothing is sent or stored
  --json                   print one JSON object
  -h, --help               this page; 'enqueue bulk --help' and so on for the others

Examples:
  enqueue types danaconnect:otp:send
  enqueue danaconnect:otp:send --payload @otp.json --key order-4711 --wait 20s
  enqueue anna:user:inactivate --set userId=u-1001 --notify
  enqueue bulk --type anna:user:inactivate --receipt receipt.jsonl leavers.csv

Settings come from the environment: REDIS_URL (default redis://127.0.0.1:6379/0) and
ENCRYPTION_KEYS, the same as the workers'. Each may also be in a file: REDIS_URL_FILE,
ENCRYPTION_KEYS_FILE. No vendor credentials are needed.

Data goes to stdout, everything else to stderr. Exit codes:
    0 stored; with --wait: done         8 expired, it was not run
    1 unexpected                        9 bulk finished with refused rows
    2 wrong command line or settings   10 the wait timed out
    3 the input is refused             11 failed or invalid
    4 Redis cannot be reached          12 cancelled or superseded
    5 declined by the vendor           13 no such task, or too late to cancel it
    6 parked when the wait ended      130 interrupted
    7 unknown: it may have happened
`
