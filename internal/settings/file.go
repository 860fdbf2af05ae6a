package settings

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
)

const (
	fileSuffix  = "_FILE"
	maxFileSize = 64 << 10
)

// fromFile returns a secret from the file that X_FILE names, or "" if X_FILE is
// unset. It is an error if X is set as well.
func fromFile(name string, environ map[string]string) (string, error) {
	path, given := environ[name+fileSuffix]
	if !given {
		return "", nil
	}
	if _, both := environ[name]; both {
		return "", Problem{
			Variable: name,
			Rule:     "is set, and so is " + name + fileSuffix + "; set one of them",
		}
	}
	value, err := readSecret(path)
	if err != nil {
		return "", Problem{name + fileSuffix, err.Error()}
	}
	return value, nil
}

func readSecret(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", unreadable(err)
	}
	defer func() {
		_ = f.Close()
	}()
	text, err := io.ReadAll(io.LimitReader(f, maxFileSize+1))
	switch {
	case err != nil:
		return "", unreadable(err)
	case len(text) > maxFileSize:
		return "", fmt.Errorf("the file has more than %d bytes", maxFileSize)
	}
	value := strings.TrimRight(string(text), "\r\n")
	if value == "" {
		return "", errors.New("the file is empty")
	}
	return value, nil
}

// unreadable omits the path, because the variable may hold the secret itself by
// mistake.
func unreadable(err error) error {
	if pathErr, ok := errors.AsType[*fs.PathError](err); ok {
		err = pathErr.Err
	}
	return fmt.Errorf("cannot read the file: %w", err)
}
