package settings

import (
	"crypto/sha256"
	"maps"
	"os"
	"slices"
)

// SecretFiles notices when the files that hold secrets change. It compares their
// content, so that it makes no difference how a file is replaced: written in place,
// renamed over the old one, or by another target of a symbolic link, as Kubernetes
// does it.
type SecretFiles struct {
	paths map[string]string // by variable, such as X_FILE
	// taken is what each file held when Changed reported it last, seen what it held at
	// the last look.
	taken map[string]fileState
	seen  map[string]fileState
}

// fileState is what a file holds: a digest, or why it cannot be read.
type fileState struct {
	digest [sha256.Size]byte
	fault  string
}

// FileChange is a secret whose file has changed.
type FileChange struct {
	// Variable is the secret's, X of X_FILE.
	Variable string
	// Err says why the file cannot be read; nil if it can.
	Err error
}

// WatchSecrets returns the SecretFiles of those variables that environ reads from a
// file. What is not a regular file, such as a pipe, can be read only once and is left
// out. Call it before Load, so that no change falls between the two.
func WatchSecrets(environ map[string]string, variables []Variable) *SecretFiles {
	w := &SecretFiles{paths: map[string]string{}}
	for _, v := range variables {
		path := environ[v.Name+fileSuffix]
		if !v.Secret || path == "" {
			continue
		}
		if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() {
			w.paths[v.Name] = path
		}
	}
	w.taken, _ = w.look()
	w.seen = w.taken
	return w
}

// Changed lists the secrets whose files hold something else than when it listed them
// last, or than at the start. A change counts once two looks in a row find the same,
// because a file may just be being written; atOnce does not wait for the second look.
func (w *SecretFiles) Changed(atOnce bool) []FileChange {
	found, faults := w.look()
	var changed []FileChange
	for _, variable := range slices.Sorted(maps.Keys(found)) {
		if found[variable] != w.taken[variable] {
			changed = append(changed, FileChange{Variable: variable, Err: faults[variable]})
		}
	}
	settled := atOnce || maps.Equal(found, w.seen) // files of one change belong together
	w.seen = found
	if !settled {
		return nil
	}
	w.taken = found
	return changed
}

// look reads all files.
func (w *SecretFiles) look() (map[string]fileState, map[string]error) {
	found := make(map[string]fileState, len(w.paths))
	faults := map[string]error{}
	for variable, path := range w.paths {
		value, err := readSecret(path)
		if err != nil {
			faults[variable] = Problem{variable + fileSuffix, err.Error()}
			found[variable] = fileState{fault: err.Error()}
			continue
		}
		found[variable] = fileState{digest: sha256.Sum256([]byte(value))}
	}
	return found, faults
}
