package config

import (
	"strings"

	"errand.internal/internal/settings"
	"errand.internal/tasks/all"
)

// Example renders .env.example.
func Example() string {
	worker := settings.Section{Title: "Worker"}
	events := settings.Section{Title: "Events"}
	api := settings.Section{Title: "HTTP interface"}
	traces := settings.Section{Title: "Traces"}
	for _, v := range settings.Describe(Config{}) {
		if v.Name == "WORKER_QUEUES" {
			v.Default = DefaultQueues().String()
		}
		switch {
		case strings.HasPrefix(v.Name, "EVENTS_"):
			events.Variables = append(events.Variables, v)
		case strings.HasPrefix(v.Name, "API_"):
			api.Variables = append(api.Variables, v)
		case strings.HasPrefix(v.Name, "OTEL_"):
			traces.Variables = append(traces.Variables, v)
		default:
			worker.Variables = append(worker.Variables, v)
		}
	}
	sections := []settings.Section{worker, events, api, traces}
	for _, v := range all.Vendors {
		section := settings.Section{Title: v.Title}
		for _, t := range v.Accounts {
			section.Variables = append(section.Variables, settings.Describe(t.Settings())...)
		}
		sections = append(sections, section)
	}
	return settings.Example(sections)
}

// Variables lists the variables of a worker, those of all vendors included.
func Variables() []settings.Variable {
	structs := []any{Config{}}
	for _, v := range all.Vendors {
		for _, t := range v.Accounts {
			structs = append(structs, t.Settings())
		}
	}
	return settings.Describe(structs...)
}
