package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"errand.internal/internal/demo"
	"errand.internal/internal/sandboxes"
)

// stepTimeout bounds one step of the story.
const stepTimeout = 20 * time.Second

// steps returns the story, which consists of the vendors' steps.
func (s *system) steps() []demo.Step {
	var story []demo.Step
	for i, v := range sandboxes.Vendors {
		if v.Steps == nil {
			continue
		}
		story = append(story, v.Steps(demo.Stage{
			Client:     s.client,
			Sandbox:    s.sandboxes[i],
			AwaitEvent: s.receiver.await,
		})...)
	}
	return story
}

// runStory runs the steps and prints a line for each. It stops at the first one
// that comes out wrong, and returns an error.
func runStory(ctx context.Context, out io.Writer, story []demo.Step) error {
	_, _ = fmt.Fprintln(out, "Errand demo: embedded Redis (not for production), vendor sandboxes, worker, web UI")
	_, _ = fmt.Fprintln(out)
	for _, step := range story {
		began := time.Now()
		result, err := runStep(ctx, step)
		if err != nil {
			_, _ = fmt.Fprintf(out, "  WRONG  %s\n         %v\n", step.Title, err)
			return fmt.Errorf("a step came out wrong: %s", step.Title)
		}
		took := time.Since(began).Round(time.Millisecond)
		_, _ = fmt.Fprintf(out, "  ok     %-52s %s (%s)\n", step.Title, result, took)
	}
	_, _ = fmt.Fprintln(out)
	return nil
}

func runStep(ctx context.Context, step demo.Step) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, stepTimeout)
	defer cancel()
	return step.Run(ctx)
}
