package app_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"errand.internal/clients/clientstest"
	"errand.internal/internal/config"
	"errand.internal/internal/events/deliver"
	"errand.internal/tasks"
	"errand.internal/tasks/all"
)

func TestGoldenEnvExample(t *testing.T) {
	clientstest.GoldenText(t, "../../.env.example", config.Example())
}

func TestGoldenTaskTable(t *testing.T) {
	table := "| type | queue | does | worth running for | if it may have happened |\n|---|---|---|---|---|\n"
	for _, info := range all.Vendors.Types() {
		policy := info.Example.Policy()
		table += fmt.Sprintf(
			"| `%s` | %s | %s | %s | %s |\n",
			info.Type,
			policy.Queue,
			info.Summary,
			formatBudget(policy.Budget),
			redelivery(info),
		)
	}
	clientstest.GoldenPart(t, "../../README.md", "tasks", table)
}

// redelivery says what becomes of a task that may have happened.
func redelivery(info tasks.Info) string {
	if info.PerPayload() {
		return "runs again if `idempotent` (reads are), else ends `unknown`"
	}
	return map[tasks.Redelivery]string{
		tasks.AtMostOnce:  "ends `unknown`",
		tasks.AtLeastOnce: "runs again",
		tasks.Reconciled:  "is looked for, and run again only if it is not there",
	}[info.Example.Policy().Redelivery]
}

// promise is what docs/guarantees.md promises of a task type.
type promise struct{ attempted, lostAnswer, deadWorker string }

// promiseOf derives the promise from what the queue does with the type's policy.
func promiseOf(policy tasks.Policy, perPayload bool) promise {
	if perPayload {
		return promise{
			attempted:  "at most once¹; until done if `idempotent`",
			lostAnswer: "ends `unknown`; runs again if `idempotent`",
			deadWorker: "the same",
		}
	}
	return map[tasks.Redelivery]promise{
		tasks.AtMostOnce: {
			attempted:  "at most once¹",
			lostAnswer: "ends `unknown`",
			deadWorker: "ends `unknown`",
		},
		tasks.AtLeastOnce: {
			attempted:  "until done, for " + formatBudget(policy.Budget),
			lostAnswer: "runs again",
			deadWorker: "runs again",
		},
		tasks.Reconciled: {
			attempted:  "one effect",
			lostAnswer: "looked up twice, then run again",
			deadWorker: "the same",
		},
	}[policy.Redelivery]
}

func TestGoldenGuarantees(t *testing.T) {
	types := map[promise][]string{}
	var order []promise
	add := func(taskType string, p promise) {
		if types[p] == nil {
			order = append(order, p)
		}
		types[p] = append(types[p], "`"+taskType+"`")
	}
	for _, info := range all.Vendors.Types() {
		add(info.Type, promiseOf(info.Example.Policy(), info.PerPayload()))
	}
	event := deliver.Definition(nil)
	add(event.Type, promiseOf(event.Base, false))

	table := "| type | attempted | if it may have happened | if its worker dies during the call |\n|---|---|---|---|\n"
	for _, p := range order {
		table += fmt.Sprintf(
			"| %s | %s | %s | %s |\n",
			strings.Join(types[p], ", "),
			p.attempted,
			p.lostAnswer,
			p.deadWorker,
		)
	}
	clientstest.GoldenPart(t, "../../docs/guarantees.md", "types", table)
}

func formatBudget(d time.Duration) string {
	switch {
	case d%(24*time.Hour) == 0:
		return fmt.Sprintf("%d d", d/(24*time.Hour))
	case d%time.Hour == 0:
		return fmt.Sprintf("%d h", d/time.Hour)
	case d%time.Minute == 0:
		return fmt.Sprintf("%d min", d/time.Minute)
	}
	return d.String()
}
