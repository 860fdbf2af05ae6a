package main

import (
	"context"
	"embed"
	"fmt"
	"strings"
	"text/template"

	"github.com/alecthomas/kong"

	"errand.internal/tasks/all"
)

// completionCommand is `enqueue completion SHELL`.
type completionCommand struct {
	Shell string `arg:"" enum:"bash,zsh" placeholder:"bash|zsh" help:"The shell: bash or zsh."`
}

// Help returns the detailed help that kong prints.
func (c *completionCommand) Help() string {
	return `bash: put this into ~/.bashrc

  source <(enqueue completion bash)

zsh: put this into ~/.zshrc, below compinit

  source <(enqueue completion zsh)`
}

// completionWords are the words that the scripts offer, separated by blanks.
type completionWords struct {
	Commands string // the first word, beside a task type
	Types    string
	Flags    string // of enqueue TYPE
	Of       []commandWords
}

type commandWords struct{ Command, Flags string }

//go:embed completion/*.tmpl
var completionScripts embed.FS

func (c *completionCommand) run(_ context.Context, inv *invocation) (int, error) {
	parser, err := newParser(&commands{}, inv)
	if err != nil {
		return exitUnexpected, err
	}
	scripts, err := template.ParseFS(completionScripts, "completion/*.tmpl")
	if err != nil {
		return exitUnexpected, fmt.Errorf("parse the scripts: %w", err)
	}
	// stdout keeps the error of writing.
	_ = scripts.ExecuteTemplate(inv.stdout, c.Shell+".tmpl", wordsOf(parser.Model.Node))
	return exitOK, nil
}

// wordsOf returns the words of the command line that root describes.
func wordsOf(root *kong.Node) completionWords {
	var types []string
	for _, info := range all.Vendors.Types() {
		types = append(types, info.Type)
	}
	words := completionWords{Types: strings.Join(types, " ")}
	first := flagNames(root)
	for _, child := range root.Children {
		flags := strings.Join(append(flagNames(child), "--help"), " ")
		if child.Name == commandName {
			words.Flags = flags
			continue
		}
		first = append(first, child.Name)
		words.Of = append(words.Of, commandWords{child.Name, flags})
	}
	words.Commands = strings.Join(first, " ")
	return words
}

func flagNames(node *kong.Node) []string {
	var names []string
	for _, f := range node.Flags {
		if !f.Hidden {
			names = append(names, "--"+f.Name)
		}
	}
	return names
}
